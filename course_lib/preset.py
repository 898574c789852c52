"""The preset, which decides the sizes of what is run, and the course seed: COURSE_PRESET and COURSE_SEED."""

from __future__ import annotations

import os
import re
from typing import Literal, cast

from course_lib.errors import CourseError

Preset = Literal["cpu", "gpu"]


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
