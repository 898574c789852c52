"""Measurements: recording numbers for the book, the preset that sets their sizes, intervals and entropies."""

from course_lib.measure.committed import committed_run
from course_lib.measure.memory import saved_for_backward
from course_lib.measure.ngrams import ngram_surprise
from course_lib.measure.predict import predict
from course_lib.measure.preset import device, device_name, pick, seed
from course_lib.measure.record import OutOfBand, record
from course_lib.measure.statistics import bootstrap, entropy, t_interval, wilson
from course_lib.measure.tuning import TunedRates, trial_curves, tuned_rates
