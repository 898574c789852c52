"""`check` and `use`: the instant check of an exercise, in the notebook's own process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from course_lib.exercises import find
from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Exam, Outcome, Result
from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.render import as_html, result_lines, show

_STAND_IN = "__course_reference__"  # the attribute by which a reference in the place of a learner's object is known
_failures: dict[str, int] = {}  # by id, in this kernel: the second hint comes after the second failure


@dataclass(frozen=True, repr=False)
class Checked:
    """What a check found; true when every visible check passed.

    It has been shown already, so a notebook shows nothing more.

    Attributes:
        id: The exercise.
        lines: What the learner was told.
        result: How each check went; None when there was nothing to check.
    """

    id: str
    lines: list[str]
    result: Result | None = None

    def __bool__(self) -> bool:
        return bool(self.result)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        return f"<{self.id}: {'passed' if self else 'not passed'}>"

    def _repr_html_(self) -> str:
        return as_html(self.lines)

    def _ipython_display_(self) -> None:
        """Nothing: `check` has shown it, also where its line ends in a semicolon."""


@functools.cache
def _visible_exam(id: str) -> Exam:
    return Exam(find(id))


def check(id: str, obj: Any) -> Checked:
    """Check your function or class, and show what passed and what a wrong answer looks like.

    Hints come in stages: the first with the first failure, the second with the next.

    Args:
        id: The exercise.
        obj: The function or class itself.

    Returns:
        A result that is true when every visible check passed.
    """
    try:
        refusal = _refusal(find(id), obj)
    except LookupError as error:
        refusal = str(error)
    if refusal:
        show([refusal])
        return Checked(id, [refusal])
    result = _visible_exam(id).grade(LocalSubject(obj))
    _failures[id] = 0 if result else _failures.get(id, 0) + 1
    lines = result_lines(result, hints=1 if result.outcome is Outcome.NOT_STARTED else _failures[id])
    show(lines)
    return Checked(id, lines, result)


def use(id: str, obj: Any) -> Any:
    """Your own function or class if it passes its visible checks; otherwise the reference, so that you can go on.

    Args:
        id: The exercise.
        obj: The function or class itself.

    Raises:
        LookupError: There is no such exercise.
    """
    exercise = find(id)
    if _refusal(exercise, obj) is None and _visible_exam(id).grade(LocalSubject(obj)):
        return obj
    show(
        [
            f"From here on the reference stands in for your {exercise.name}.",
            f"Once yours passes the check of `{id}`, run this cell again: the rest then works with what you wrote.",
        ]
    )
    return _stand_in(exercise)


def _refusal(exercise: Exercise, obj: Any) -> str | None:
    """What to say of an object that cannot be checked: a stand-in, or no function or class where it should be one."""
    if _STAND_IN in getattr(obj, "__dict__", {}):  # its own attribute: a class derived from a stand-in is the learner's
        return (
            f"{exercise.id}: this is the reference that `use` put in the place of yours. "
            f"Run the cell with your own {exercise.name} again."
        )
    wants_class = isinstance(exercise.reference, type)
    if isinstance(obj, type) if wants_class else callable(obj):
        return None
    kind = "class" if wants_class else "function"
    return (
        f'{exercise.id}: hand over the {kind} itself, `check("{exercise.id}", {exercise.name})`, '
        f"without calling it. What came is of type {type(obj).__name__}."
    )


def _stand_in(exercise: Exercise) -> Any:
    """A copy of the reference that `check` knows again."""
    reference = exercise.reference
    if isinstance(reference, type):
        return type(reference.__name__, (reference,), {_STAND_IN: exercise.id, "__doc__": reference.__doc__})

    @functools.wraps(reference)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return reference(*args, **kwargs)

    setattr(stand_in, _STAND_IN, exercise.id)
    return stand_in
