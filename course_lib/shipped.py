"""The trained models that come with the course: in `shipped/` of a checkout, or beside an installed package."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from course_lib.errors import CourseError

SHIPPED = ("moe", "vision-text")  # the recipes whose preset `hour` makes them
ROOT = Path(__file__).resolve().parents[1]  # of the checkout


def shipped_model(recipe: str) -> Path:
    """Return the folder of the model that a recipe made for the course: one that `from_pretrained` reads.

    Raises:
        CourseError: If it is not here.
    """
    for place in (ROOT, Path(sysconfig.get_path("data")) / "share" / "course"):
        if (place / "shipped" / recipe / "config.json").is_file():
            return place / "shipped" / recipe
    raise CourseError(
        f"this copy of the course comes without the model {recipe}; `course train {recipe}` makes one in a few "
        f"minutes, in runs/{recipe}-cpu-seed0: `course look` finds it there, `course generate` takes that folder's name"
    )
