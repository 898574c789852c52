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
        f"the model {recipe} is not among the course's files here; "
        f"train one with `course train {recipe}`, and name the folder of the run"
    )
