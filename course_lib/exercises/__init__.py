"""The exercises of the course: one module a lab, the single source of every check, grade and solution."""

from __future__ import annotations

import difflib
import importlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_lib.exercises.spec import Exercise

_ID = re.compile(r'^ +id="([^"]+)",', re.MULTILINE)


@cache
def _lab_of_id() -> dict[str, str]:
    """Which lab owns each id, read from the sources: a look-up then imports one module instead of all."""
    table = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for name in _ID.findall(path.read_text(encoding="utf-8")):
            table[name] = path.stem
    return table


def labs() -> list[str]:
    """Slugs of the labs that have exercises, in the order of the course."""
    return sorted(set(_lab_of_id().values()))


def of_lab(slug: str) -> list[Exercise]:
    """The exercises of one lab, in order; LookupError for a lab without any."""
    if slug not in labs():
        raise LookupError(f"no exercises for a lab called {slug!r}; there are: {', '.join(labs())}")
    return importlib.import_module(f"{__name__}.{slug}").EXERCISES


def lab_of(id: str) -> str | None:
    """Slug of the lab that owns an id, or None for an unknown id; imports nothing."""
    return _lab_of_id().get(id)


def find(id: str) -> Exercise:
    """The exercise with this id; imports its module only. LookupError for an unknown id."""
    slug = lab_of(id)
    if slug is None:
        close = difflib.get_close_matches(str(id), _lab_of_id(), n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise LookupError(f"the course has no exercise called {id!r}{meant}")
    return next(exercise for exercise in of_lab(slug) if exercise.id == id)
