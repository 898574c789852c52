"""The exercises of the course: a package for each lab, in it a file for each exercise.

A file is the only source of its exercise: check, grade, solution and page are made from it.

To add an exercise to a lab:

1. Copy `ch01_attention/softmax.py` to `<lab>/<id>.py` and replace its content by your own: the reference, its cases,
   right answers written another way (`@alternative`), known mistakes (`@mistake("what it looks like, and what to
   do")`), `EXERCISE`.
2. Add its id to `exercises` in `<lab>/__init__.py`, in the order of the notebook.
3. Put the stub into the notebook, under a cell that says what it takes and returns, its points and minutes.

`pytest tests/test_exercises.py -k <id>` then says what is still missing.

An instructor's own exercises and private cases are in a folder outside this package: see `own`.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_lib.exercises.spec import Exercise


@dataclass(frozen=True)
class Lab:
    """A lab, as described by the package of its exercises.

    Attributes:
        title: The first heading of the notebook.
        question: The question of the lab, as in the table of the index page.
        exercises: The ids of its exercises in the order of the notebook; each is in the file `<id>.py`.
    """

    title: str
    question: str
    exercises: tuple[str, ...]


def labs() -> list[str]:
    """Return the slugs of the labs that have exercises, in alphabetical order."""
    from course_lib.exercises import own

    return sorted({*_of_the_course(), *own.files()})


def _of_the_course() -> list[str]:
    return [file.parent.name for file in Path(__file__).parent.glob("*/__init__.py")]


def is_student_version() -> bool:
    """Return whether the solutions have been taken out of this checkout, by `course release`."""
    return any(Path(__file__).parent.glob("*/*.cases"))


def lab(slug: str) -> Lab:
    """Return the description of one lab; imports none of its exercises.

    Own exercises come after those of the course, in the order of their names.

    Raises:
        LookupError: If there is no lab of that name with exercises.
    """
    if slug not in labs():
        raise LookupError(f"no exercises for a lab called {slug!r}; there are: {', '.join(labs())}")
    from course_lib.exercises import own

    ours = slug in _of_the_course()
    found: Lab = importlib.import_module(f"{__name__}.{slug}").LAB if ours else Lab(slug, "", ())
    more = [id for id in own.files().get(slug, ()) if id not in found.exercises]
    return replace(found, exercises=(*found.exercises, *more))


def of_lab(slug: str) -> list[Exercise]:
    """Return the exercises of one lab, in order, as they are graded: with private cases and points of this fork.

    Raises:
        LookupError: If there is no lab of that name with exercises.
        CourseError: If something is wrong with an exercise of this fork, or with its `course.toml`.
    """
    from course_lib.exercises import own
    from course_lib.exercises.points import with_points

    files = own.files().get(slug, {})
    found = [_load(slug, id) for id in lab(slug).exercises]
    private = {id: files[id] for id in files if _lab_of_id().get(id) == slug}
    found = [own.with_private_cases(each, private[each.id]) if each.id in private else each for each in found]
    known = {*labs(), *_lab_of_id(), *(id for ids in own.files().values() for id in ids)}
    return with_points(slug, found, known)


def lab_of(id: str) -> str | None:
    """Return the slug of the lab that an exercise belongs to, or None for an unknown id; imports no exercise."""
    if slug := _lab_of_id().get(id):
        return slug
    from course_lib.exercises import own

    return next((slug for slug, files in own.files().items() if id in files), None)


def find(id: str) -> Exercise:
    """Return the exercise with this id, as it is checked; imports only its file and earlier exercises that it calls.

    Private cases and the points of a fork are for grading alone: `of_lab` has them.

    Raises:
        LookupError: If there is no such exercise.
    """
    slug = lab_of(id)
    if slug is None:
        close = difflib.get_close_matches(str(id), _lab_of_id(), n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise LookupError(f"the course has no exercise called {id!r}{meant}")
    return _load(slug, id)


@cache
def _lab_of_id() -> dict[str, str]:
    described = {slug: importlib.import_module(f"{__name__}.{slug}").LAB for slug in _of_the_course()}
    return {id: slug for slug, lab in described.items() for id in lab.exercises}


def _load(slug: str, id: str) -> Exercise:
    """Return an exercise of the course, or else one of this fork's own."""
    home = _lab_of_id().get(id)
    if home == slug:
        return importlib.import_module(f"{__name__}.{slug}.{id}").EXERCISE
    # Only here, since a check in a notebook should import no more than it needs.
    from course_lib.exercises import own

    if home:
        raise own.ExerciseError(f"{own.FOLDER}/{slug}/{id}.py: {home} has an exercise of this name; choose another")
    return own.own_exercise(own.files()[slug][id])
