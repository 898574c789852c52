"""The preset, read from COURSE_PRESET, which decides the sizes of what is run."""

from __future__ import annotations

import os
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
