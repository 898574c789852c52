"""`check` and `use`: the instant check of an exercise, in the notebook's own process."""

from __future__ import annotations

import functools
import inspect
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.exercises import find, lab_of
from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Exam, Outcome, Result
from course_lib.grader.foresight import what_grading_sees
from course_lib.grader.ready_made import ready_made
from course_lib.grader.render import hint_lines, result_lines, show
from course_lib.grader.timed import TimedSubject

MOST_LINES, MOST_CHARACTERS = 100, 10_000  # of what a learner's code prints during a check
COMPARING = 0.3  # CPU seconds in which a wrong answer is compared with slips: a learner waits for it
_stopped: dict[str, Any] = {}  # by id: what exceeded a limit when it was last checked; `use` need not wait for it again
_failures: dict[str, int] = {}  # by id, in this kernel: the second hint comes after the second failure
_asked: dict[str, int] = {}  # by id, how often its hint was asked for


@dataclass(frozen=True, repr=False)
class Checked:
    """The result of a check; true if every visible check passed.

    `check` has shown it already, so a notebook displays nothing more.

    Attributes:
        id: The id of the exercise.
        result: The result of each visible check; None if there was nothing to check.
    """

    id: str
    result: Result | None = None

    def __bool__(self) -> bool:
        return bool(self.result)

    def __repr__(self) -> str:
        return f"<{self.id}: {'passed' if self else 'not passed'}>"

    def _ipython_display_(self) -> None:
        """Display nothing: `check` has shown the result already, even if its line ends in a semicolon."""


@functools.cache
def _visible_exam(id: str) -> Exam:
    return Exam(find(id), seconds=COMPARING)


def check(id: str, obj: Any = None) -> Checked:
    """Check your function or class, and show what passed and how a wrong answer differs.

    Hints come in stages: the first with the first failure, the second with the next. `hint` gives them before that.
    Where the lab gives code with a fault, they speak of that fault, and come only while the answer still has it.

    Args:
        id: The id of the exercise.
        obj: The function or class itself.

    Returns:
        A result that is true if every visible check passed.
    """
    __tracebackhide__ = True
    refusal = _misuse("check", id, obj) or _refusal(find(id), obj)
    if refusal:
        show([refusal])
        return Checked(str(id))
    with _printed(MOST_LINES):
        result = _grade(id, TimedSubject(obj))
    result.avoided = ready_made(obj, result.exercise.avoid) if result else []
    started = result.outcome is not Outcome.NOT_STARTED  # an open stub is no failed try
    if started:
        _failures[id] = 0 if result else _failures.get(id, 0) + 1
    lines = result_lines(result, hints=_failures.get(id, 0))
    otherwise = what_grading_sees(result.exercise, obj)
    show([*lines, otherwise] if otherwise else lines)
    return Checked(id, result)


def hint(id: str) -> None:
    """Show the first hint to an exercise, and when asked again the second one too: also before the first try."""
    __tracebackhide__ = True
    try:
        exercise = find(id)
    except LookupError as error:
        show([str(error)])
        return
    _asked[id] = _asked.get(id, 0) + 1
    show(hint_lines(exercise, _asked[id]) or [f"{id}: this version of the course has no hints."])


def use(id: str, obj: Any = None) -> Any:
    """Return your own function or class if it passes its visible checks; otherwise the reference, so you can continue.

    A student version has no reference: there it is your own in any case.

    Args:
        id: The id of the exercise.
        obj: The function or class itself.

    Returns:
        What the rest of the lab works with. If there is no such exercise, your own, and a sentence is shown.
    """
    __tracebackhide__ = True
    if misuse := _misuse("use", id, obj):
        show([misuse])
        return obj if callable(obj) else id
    exercise = find(id)
    if _refusal(exercise, obj) is None and _stopped.get(id) is not obj:
        with _printed(0):  # `check` has shown it
            result = _grade(id, TimedSubject(obj))
        if result:
            return obj
    if exercise.stored:
        show([f"This version of the course has no reference: the lab goes on with your {exercise.name} as it is."])
        return obj
    show(
        [
            f"From here on the reference stands in for your {exercise.name}.",
            f"Once yours passes the check of `{id}`, run this cell again: the rest then works with what you wrote.",
        ]
    )
    return exercise.reference


def _grade(id: str, subject: TimedSubject) -> Result:
    """Run the visible checks; if they are interrupted, the traceback says where in the notebook and no more."""
    __tracebackhide__ = True
    try:
        with warnings.catch_warnings(), _as_written():
            # It goes on to recommend `detach`, where gradients are asked for.
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True to a scalar")
            result = _visible_exam(id).grade(subject)
    except KeyboardInterrupt as error:
        raise error.with_traceback(None) from None
    _stopped[id] = subject.objects[0] if subject.lost else None
    return result


def _as_written() -> AbstractContextManager[Any]:
    """Let what `torch.compile` has made run uncompiled: compiling it takes longer than the checks may."""
    compiles = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiles else nullcontext()


@contextmanager
def _printed(lines: int) -> Iterator[None]:
    """Let the code inside print so many lines at most, and say at the end how many more there were.

    A function is called many times in a check. A notebook drops all output when there is too much: also our message.
    """
    few = _Few(lines)
    try:
        with redirect_stdout(few):
            yield
    finally:
        if few.left_out and lines:
            print(f"\n... and {few.left_out:,} more lines that your code printed.")


class _Few(io.TextIOBase):
    """A text stream that passes on the first lines to what is standard output now, and counts the others."""

    def __init__(self, lines: int):
        self.out, self.lines, self.characters, self.left_out = sys.stdout, lines, MOST_CHARACTERS, 0

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            if self.lines > 0 and self.characters >= len(line):
                self.out.write(line)
                self.characters -= len(line)
                self.lines -= line.endswith("\n")
            else:
                self.lines = 0
                self.left_out += line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        self.out.flush()


def _misuse(function: str, id: Any, obj: Any) -> str | None:
    """Return a message if there is no exercise of this id, or if the id does not come first."""
    if isinstance(id, str):
        try:
            find(id)
        except LookupError as error:
            return str(error)
        return None
    meant = next(
        (name for name in (obj, getattr(id, "__name__", "")) if isinstance(name, str) and lab_of(name)), "softmax"
    )
    example = f'`{function}("{meant}", {find(meant).name})`'
    return f"The id of the exercise comes first, in quotes, then the function or class itself, such as {example}."


def _refusal(exercise: Exercise, obj: Any) -> str | None:
    """Return a message for an object that cannot be checked: the reference, or anything but a function or class."""
    if obj is exercise.reference:
        return (
            f"{exercise.id}: this is the reference that `use` put in the place of yours. "
            f"Run the cell with your own {exercise.name} again."
        )
    device = torch.get_default_device()
    if device.type != "cpu":
        return (
            f"{exercise.id}: the default device is `{device}`, and the checks work on the CPU. "
            'Run `torch.set_default_device("cpu")` first.'
        )
    wants_class = isinstance(exercise.reference, type)
    if wants_class and inspect.isfunction(obj):
        return f"{exercise.id}: it asks for a class, `class {exercise.name}`, and what came is a function."
    if not wants_class and isinstance(obj, type):
        return f"{exercise.id}: it asks for a function, `def {exercise.name}`, and what came is a class."
    if isinstance(obj, type) if wants_class else callable(obj):
        return None
    kind = "class" if wants_class else "function"
    return (
        f'{exercise.id}: hand over the {kind} itself, `check("{exercise.id}", {exercise.name})`, '
        f"without calling it.{'' if obj is None else f' What came is of type {type(obj).__name__}.'}"
    )
