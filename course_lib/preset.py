"""What the environment says of a run: COURSE_PRESET, COURSE_SEED, and in a trial of rates COURSE_RATE_FACTOR."""

from __future__ import annotations

import os
import re
from typing import Literal, cast

from course_lib.errors import CourseError

Preset = Literal["cpu", "gpu"]
RATE_FACTOR = "COURSE_RATE_FACTOR"
RATE_ARM = "COURSE_RATE_ARM"  # the one arm whose rate is multiplied; all of them where it is not set


def preset() -> Preset:
    """Return the preset: `cpu`, unless the environment variable COURSE_PRESET is `gpu`.

    Raises:
        CourseError: If the variable has any other value.
    """
    chosen = os.environ.get("COURSE_PRESET") or "cpu"
    if chosen not in ("cpu", "gpu"):
        raise CourseError(f"COURSE_PRESET is {chosen!r}; set it to cpu or gpu, or unset it for cpu")
    return cast(Preset, chosen)


def course_seed() -> int:
    """Return the course seed, which tells one replication from another: 0, unless COURSE_SEED is another whole number.

    Raises:
        CourseError: If the variable is anything else.
    """
    chosen = os.environ.get("COURSE_SEED") or "0"
    if not re.fullmatch("[0-9]{1,8}", chosen):  # ten times as much is still a seed of 32 bits
        raise CourseError(f"COURSE_SEED is {chosen!r}; set it to a whole number from 0 to 99999999, or unset it for 0")
    return int(chosen)


def rate_factor(arm: str) -> float | None:
    """Return what a trial of learning rates multiplies that of an arm by, or None where this arm is not on trial.

    Raises:
        CourseError: If COURSE_RATE_FACTOR is not a number.
    """
    chosen = os.environ.get(RATE_FACTOR)
    if not chosen or os.environ.get(RATE_ARM) not in (None, arm):
        return None
    try:
        return float(chosen)
    except ValueError:
        raise CourseError(f"{RATE_FACTOR} is {chosen!r}; set it to a number such as 3, or unset it") from None
