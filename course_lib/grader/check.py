"""`check` and `use`: the instant check of an exercise, in the notebook's own process."""

from __future__ import annotations

import functools
import types
from typing import Any

from course_lib.exercises import find
from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Exam, Verdict
from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.render import as_html, show, verdict_lines

_MARK = "__course_reference__"
_failures: dict[str, int] = {}  # by id, in this kernel: the second hint comes after the second failure


class Result:
    """What a check found; true when every visible check passed.

    It has been shown already, so a notebook shows nothing more.

    Attributes:
        id: The exercise.
        passed: Whether every visible check passed.
        lines: What the learner was told.
        verdict: How each check went; None when there was nothing to check.
    """

    def __init__(self, id: str, passed: bool, lines: list[str], verdict: Verdict | None = None):
        self.id, self.passed, self.lines, self.verdict = id, passed, lines, verdict

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        return f"<{self.id}: {'passed' if self.passed else 'not passed'}>"

    def _repr_html_(self) -> str:
        return as_html(self.lines)

    def _ipython_display_(self) -> None:
        """Nothing: `check` has shown it, also where its line ends in a semicolon."""


@functools.cache
def _visible_exam(id: str) -> Exam:
    return Exam(find(id))


def check(id: str, obj: Any) -> Result:
    """Check your function or class, and show what passed and what a wrong answer looks like.

    Hints come in stages: the first with the first failure, the second with the next.

    Args:
        id: The exercise.
        obj: The function or class itself.

    Returns:
        A result that is true when every visible check passed.
    """
    try:
        exercise = find(id)
    except LookupError as error:
        return _refuse(id, f"{error}")
    if getattr(obj, "__dict__", {}).get(_MARK) is not None:
        return _refuse(
            id,
            f"{id}: this is the reference that `use` put in the place of yours. "
            f"Run the cell with your own {exercise.name} again.",
        )
    if problem := _not_a_candidate(exercise, obj):
        return _refuse(id, problem)
    verdict = _visible_exam(id).mark(LocalSubject(obj))
    _failures[id] = 0 if verdict else _failures.get(id, 0) + 1
    lines = verdict_lines(verdict, hints=_failures[id] if verdict.started else 1)
    show(lines)
    return Result(id, bool(verdict), lines, verdict)


def use(id: str, obj: Any) -> Any:
    """Your own function or class if it passes its visible checks; otherwise the reference, so that you can go on.

    Args:
        id: The exercise.
        obj: The function or class itself.

    Raises:
        LookupError: There is no such exercise.
    """
    exercise = find(id)
    marked = getattr(obj, "__dict__", {}).get(_MARK) is not None
    if not marked and _not_a_candidate(exercise, obj) is None and _visible_exam(id).mark(LocalSubject(obj)):
        return obj
    show(
        [
            f"From here on the reference stands in for your {exercise.name}.",
            f"Once yours passes the check of `{id}`, run this cell again: the rest then works with what you wrote.",
        ]
    )
    return _marked_copy(exercise)


def _refuse(id: str, sentence: str) -> Result:
    show([sentence])
    return Result(id, False, [sentence])


def _not_a_candidate(exercise: Exercise, obj: Any) -> str | None:
    """What to say when an object is no function, or no class where the exercise asks for one."""
    wants_class = isinstance(exercise.reference, type)
    fits = isinstance(obj, type) if wants_class else callable(obj)
    if fits:
        return None
    kind = "class" if wants_class else "function"
    return (
        f'{exercise.id}: hand over the {kind} itself, `check("{exercise.id}", {exercise.name})`, '
        f"without calling it. What came is of type {type(obj).__name__}."
    )


def _marked_copy(exercise: Exercise) -> Any:
    reference = exercise.reference
    if isinstance(reference, type):
        return type(reference.__name__, (reference,), {_MARK: exercise.id, "__doc__": reference.__doc__})
    copy = types.FunctionType(
        reference.__code__, reference.__globals__, reference.__name__, reference.__defaults__, reference.__closure__
    )
    copy.__kwdefaults__, copy.__doc__ = reference.__kwdefaults__, reference.__doc__
    setattr(copy, _MARK, exercise.id)
    return copy
