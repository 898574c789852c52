"""Numbers that a lab measures: each is printed on one line, compared with its band, and passed on to the book."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from typing import NotRequired, SupportsFloat, TypedDict

from course_lib.measure.bands import Band, Bands, band_of, lead_of
from course_lib.measure.predict import KEY, verdict
from course_lib.measure.preset import device_name
from course_lib.preset import course_seed, preset


class Judged(TypedDict):
    """A number and its band. JSON has no NaN and no infinity: None stands for them, and `ok` tells what came of it."""

    key: str
    value: float | None
    band: list[float | None] | None  # None if there is none
    ok: bool | None  # whether the number is in its band; None without a band


class Record(Judged):
    """A recorded number with its run, its control, and, where a band judges that too, its lead over the control."""

    preset: str
    seed: int
    device: str
    control: Judged | None
    lead: NotRequired[Judged]


class OutOfBand(AssertionError):
    """The error raised when a recorded number is outside its band and COURSE_STRICT=1."""


def record(
    key: str,
    value: SupportsFloat,
    expect: Bands | None = None,
    control: tuple[str, SupportsFloat] | tuple[str, SupportsFloat, Bands] | None = None,
) -> None:
    """Print a measured number and its control, and record both for the book, with the course seed.

    For example: `record("recall.accuracy", acc)`. A number outside its band prints one sentence more; NaN is always
    outside. If the reader has called `predict` with the key, their guess is printed beside what came out.

    Args:
        key: The name by which the text cites the number: lower-case words joined by dots, unique in the course.
        value: A number, or a tensor or array that holds one.
        expect: The band, both ends included, in which the page's claim holds; in a preset without a band the number is
            only recorded. By default that in the table in `measure/expected`, where it tells no reader the result.
        control: The key and value of the control, the run that could have refuted the claim; and its band, if that is
            not in the table. The table may also have a band for the number less its control.

    Raises:
        ValueError: If the key or the band is malformed.
        TypeError: If the value is not one number.
        OutOfBand: If a number is outside its band, and COURSE_STRICT=1.
    """
    number = _judge(key, value, expect)
    against = None if control is None else _judge(*control)
    entry: Record = {
        **number,
        "preset": preset(),
        "seed": course_seed(),
        "device": device_name(),
        "control": against,
    }
    pair = [number] if against is None else [number, against]
    lines, judged = [], pair
    for part, role in zip(pair, ("", "  control: "), strict=False):
        lines.append(role + _line(part))
        if said := verdict(part["key"], part["value"]):
            lines.append(f"  {said}")
    if lead := _lead(number, against):
        entry["lead"] = lead
        lines, judged = [*lines, f"  {_line(lead)}"], [*pair, lead]
    complaints = [_complaint(part) for part in judged if part["ok"] is False]
    _show("\n".join([*lines, *complaints]), entry)
    if complaints and os.environ.get("COURSE_STRICT") == "1":
        raise OutOfBand(" ".join(complaints))


def _judge(key: str, value: SupportsFloat, expect: Bands | None = None) -> Judged:
    if not KEY.fullmatch(key):
        raise ValueError(f"the key {key!r} should be lower-case words joined by dots, such as 'recall.accuracy'")
    return _judged(key, _number(key, value), _band(key, band_of(key, expect)))


def _judged(key: str, number: float, band: Band | None) -> Judged:
    ok = None if band is None else band[0] <= number <= band[1]  # False for NaN
    return {"key": key, "value": _finite(number), "band": band and [_finite(end) for end in band], "ok": ok}


def _lead(number: Judged, control: Judged | None) -> Judged | None:
    """Return the number less its control, None where no band judges it."""
    key, bands = number["key"], lead_of(number["key"])
    if bands is None:
        return None
    if control is None:
        raise ValueError(f"the lead of {key} has a band in course_lib/measure/expected: give record() its control")
    numbers = [math.nan if part["value"] is None else part["value"] for part in (number, control)]
    return _judged(f"{key} - {control['key']}", numbers[0] - numbers[1], _band(key, bands))


def _number(key: str, value: SupportsFloat) -> float:
    try:
        return float(value)  # also of tensors and arrays that hold one number
    except (TypeError, ValueError, RuntimeError):
        what = f"a {type(value).__name__}" + (f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else "")
        raise TypeError(f"{key} should be one number, not {what}") from None


def _band(key: str, expect: Bands | None) -> Band | None:
    band = expect.get(preset()) if isinstance(expect, Mapping) else expect
    if isinstance(expect, Mapping) and (unknown := expect.keys() - {"cpu", "gpu"}):
        raise ValueError(f"{key} has a band for {', '.join(sorted(unknown))}, but the presets are cpu and gpu")
    if band is None:
        return None
    low, high = (float(end) for end in band)
    if not low <= high:
        raise ValueError(f"the band of {key} runs from {low} to {high}: give the lower end first")
    return low, high


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _line(entry: Judged) -> str:
    return f"{entry['key']} = {_text(entry['value'])}" + (
        "" if entry["band"] is None else f"  ({_span(entry['band'])})"
    )


def _text(value: float | None) -> str:
    return "not a finite number" if value is None else f"{value:.4g}"


def _span(band: list[float | None]) -> str:
    low, high = band
    if low is None:
        return "expected to be finite" if high is None else f"expected at most {high:.4g}"
    return f"expected at least {low:.4g}" if high is None else f"expected {low:.4g} to {high:.4g}"


def _complaint(entry: Judged) -> str:
    assert entry["band"] is not None  # a number without one is never out of it
    return (
        f"{entry['key']} came out as {_text(entry['value'])}, where the page {_span(entry['band'])}: look at your own "
        "functions first, then run the notebook again from the top."
    )


def _show(text: str, entry: Record) -> None:
    """Show a record: in IPython as an output with the record in its metadata, elsewhere as a printed line.

    The record has no MIME type of its own, since the strict build refuses unknown ones.
    """
    ipython = sys.modules.get("IPython")  # not imported: whoever runs under IPython has it
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    display({"text/plain": text}, raw=True, metadata={"course_record": entry})
