"""What an instructor's fork has of its own: exercises and private cases in `own_exercises`, and `course.toml`.

`own_exercises/<lab>/<id>.py` is a whole exercise, like a file of this package. If the course has an exercise of that id
in that lab, the file has `private(rng)` instead: cases for grading, beside those of the course.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from course_lib.checkout import NoCheckout, find_checkout
from course_lib.course_file import Course, read_course
from course_lib.exercises.errors import ExerciseError
from course_lib.exercises.spec import Case, Exercise

FOLDER = "own_exercises"


def files() -> dict[str, dict[str, Path]]:
    """Return the files of the folder, by lab and by id."""
    found: dict[str, dict[str, Path]] = {}
    try:
        folder = find_checkout() / FOLDER
    except NoCheckout:
        return found
    for file in sorted(folder.glob("*/[a-z]*.py")):
        found.setdefault(file.parent.name, {})[file.stem] = file
    return found


def course() -> Course:
    """Return what `course.toml` says; outside of a checkout, all is as by default."""
    try:
        return read_course(find_checkout())
    except NoCheckout:
        return Course()


def own_exercise(file: Path) -> Exercise:
    """Load a whole exercise.

    Raises:
        ExerciseError: If the file is not one; the sentence says where and what to do.
    """
    exercise = getattr(_load(file, f"course_lib.exercises.{file.parent.name}.{file.stem}"), "EXERCISE", None)
    if not isinstance(exercise, Exercise):
        raise ExerciseError(f"{_place(file)} has no `EXERCISE = Exercise(...)` at its end")
    if exercise.id != file.stem:
        raise ExerciseError(f'{_place(file)} says id="{exercise.id}"; the id is the name of the file, "{file.stem}"')
    if not callable(exercise.reference):
        raise ExerciseError(f"{_place(file)}: `reference` is the function or class itself, without calling it")
    return replace(exercise, cases=_checked(file, "cases", exercise.cases, least=2))


def with_private_cases(exercise: Exercise, file: Path) -> Exercise:
    """Return an exercise of the course with the private cases of a file.

    Raises:
        ExerciseError: If the file has none.
    """
    private = getattr(_load(file, f"course_lib.exercises.private.{file.parent.name}.{file.stem}"), "private", None)
    if not callable(private):
        raise ExerciseError(
            f"{_place(file)} has no `def private(rng)`, and the course has an exercise of this name; write private "
            "cases for it, or choose another name"
        )
    return replace(exercise, private=_checked(file, "private", private, least=0))


def _checked(file: Path, name: str, make: Callable[[Any], list[Case]], least: int) -> Callable[[Any], list[Case]]:
    """Return a function that makes cases, with its mistakes as sentences."""

    def cases(rng: Any) -> list[Case]:
        try:
            made = make(rng)
        except Exception as error:
            raise ExerciseError(f"{_place(file, error)}: `{name}` stops: {type(error).__name__}: {error}") from error
        if not isinstance(made, list) or not all(isinstance(case, Case) for case in made):
            raise ExerciseError(f"{_place(file)}: `{name}` returns a list of `Case(...)`")
        names = [case.name for case in made]
        if len(names) < least:
            raise ExerciseError(f"{_place(file)}: `{name}` returns {len(names)} cases; it needs at least {least}")
        if twice := {one for one in names if names.count(one) > 1}:
            raise ExerciseError(f"{_place(file)}: two cases are called {min(twice)!r}; give each a name of its own")
        return made

    return cases


def _load(file: Path, name: str) -> ModuleType:
    """Run a file as a module, once."""
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(file):
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ExerciseError(f"{_place(file, error)}: {type(error).__name__}: {error}") from error
    return module


def _place(file: Path, error: Exception | None = None) -> str:
    """Return a file's name below the checkout, and the line of it where an error came from."""
    name = "/".join(file.parts[-3:])
    if isinstance(error, SyntaxError):
        return f"{name}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f"{name}, line {lines[-1]}" if lines else name
