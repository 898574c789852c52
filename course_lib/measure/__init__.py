"""Numbers: recording them for the book, the preset that sizes them, intervals and entropies."""

from course_lib.measure.ngrams import ngram_surprise
from course_lib.measure.preset import device, device_name, kernel_cpu_seconds, pick, preset
from course_lib.measure.record import OutOfBand, record
from course_lib.measure.statistics import bootstrap, entropy, wilson

__all__ = [
    "OutOfBand",
    "bootstrap",
    "device",
    "device_name",
    "entropy",
    "kernel_cpu_seconds",
    "ngram_surprise",
    "pick",
    "preset",
    "record",
    "wilson",
]
