"""Codes for how a request to submitted code can end. `grader/diagnose.py` turns them into sentences."""

from __future__ import annotations

import ast
import dis
import linecache
import os
import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

import torch

LONGEST_MESSAGE = 1000
_FOLDERS = (Path(torch.__file__).parent.parent, Path(os.__file__).parent, Path(__file__).parent)
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_WITHOUT_A_FILE = ("<frozen", "<__array", "<reference")
# Code that is not the learner's: installed packages, the standard library, this folder, and code without a file.
_NOT_THE_LEARNERS = (*(str(path) for folder in _FOLDERS for path in (folder, folder.resolve())), *_WITHOUT_A_FILE)


class Raised(StrEnum):
    """The ways in which an exception can end a request, as reported by the process that runs the code."""

    OTHER = "raised"
    NOT_STARTED = (
        "not started"  # a stub raises NotImplementedError; the message names it, if it is not the answer itself
    )
    STUB_LEFT = "stub left"  # the same line of a stub, with other code around it
    NO_FORWARD = "no forward"  # a layer has no method of that name
    NOT_DEFINED = "not defined"  # the cell of the exercise does not define its name, which is the message
    WRONG_ANSWER = "wrong answer"  # the exercise itself says so, in a sentence
    WRONG_ARGUMENTS = "wrong arguments"  # it cannot be called as the exercise asks
    WRONG_PARAMETERS = "wrong parameters"  # a layer has others than the state that it is given; the message names both
    ELLIPSIS = "returned an ellipsis"  # `...`, which stands for what is still to be written
    NO_DATA = "returned no data"  # a function, a generator, ...; the message says what, in a sentence
    MODIFIED_IN_PLACE = "modified in place"  # autograd refuses: it still needs the old values
    NUMPY_OF_GRADIENTS = "numpy of gradients"  # NumPy was given a tensor that requires gradients


class Lost(StrEnum):
    """The ways in which a request can get no answer; the grader notices, and the process is gone afterwards.

    The value is shown to the instructor: "the code ...".
    """

    TIMED_OUT = "took too long"
    NO_ANSWER = "sent no answer"
    SUBMISSION_TIMED_OUT = "took too long, all requests of the submission together"
    CHECKS_TIMED_OUT = "took too long, all visible checks together"
    NOT_RUN = "was not run, since an earlier call took too much"
    OUT_OF_MEMORY = "ran out of memory"
    CRASHED = "ended its process"
    BAD_REPLY = "sent something that is no answer"
    NO_MORE_WORKERS = "ended too many processes"


# By the clock. CPU time hardly depends on what else runs, so TIMED_OUT is not among these.
SLOW = {Lost.NO_ANSWER, Lost.SUBMISSION_TIMED_OUT}


@dataclass(unsafe_hash=True)
class Failure(Exception):
    """The reason why there is no answer, as plain data.

    Attributes:
        outcome: The code of the reason.
        type: The name of the exception's type, if there was one.
        message: The message of the exception.
        line: The number, in its cell, of the deepest line that the learner wrote.
        text: The text of that line.
        limit: The limit that was exceeded: seconds, or bytes of memory.
    """

    outcome: Raised | Lost
    type: str = ""
    message: str = ""
    line: int | None = None
    text: str | None = None
    limit: float | None = None

    def __str__(self) -> str:
        return f"{self.outcome}: {self.type} {self.message}".rstrip(" :")


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Attributes:
        value: The result, as plain data.
        failure: Why there is no result, or None.
        changed: The argument (position or name) that was changed in place, or None.
    """

    value: Any = None
    failure: Failure | None = None
    changed: int | str | None = None


def describe_error(error: BaseException) -> Failure:
    """Describe an exception of the code under test, and where the learner's code raised it."""
    if isinstance(error, Failure):
        return error
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)  # its str() repeats the line
    except Exception:  # a malicious __str__
        message = ""
    line = text = None
    own: list[tuple[FrameType, int]] = []  # the learner's frames, with their lines
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        ours = str(frame.f_globals.get("__name__", "")).startswith("course_lib.")
        if not ours and not file.startswith(_NOT_THE_LEARNERS):
            line, text = number, linecache.getline(file, number).strip() or None
            own.append((frame, number))
    if isinstance(error, SyntaxError) and line is None:
        line, text = error.lineno, (error.text or "").strip() or None
    outcome = _outcome_of(error, message, in_learners_code=line is not None)
    if type(error) is NotImplementedError and own and _raises(error):
        outcome = _stub_outcome(*own[-1]) or outcome
        message = (_called(own) or _one_of_several(*own[-1])) if outcome is Raised.NOT_STARTED else message
    return Failure(outcome, type(error).__name__, message[:LONGEST_MESSAGE], line, text)


def _raises(error: BaseException) -> bool:
    """Whether an exception comes from a `raise` in Python code, and not from a function of torch written in C++."""
    end = error.__traceback__
    while end and end.tb_next:
        end = end.tb_next
    return end is not None and end.tb_frame.f_code.co_code[end.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _stub_outcome(frame: FrameType, line: int) -> Raised | None:
    """Return whether the line that raised is all of a function, or stands in it beside other code; None for neither.

    A line below a `raise` never runs and is not even compiled, so the source is read. If there is none, it is a stub.
    """
    tree = _source(frame)
    if tree is None or not tree.body:
        return Raised.NOT_STARTED
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTION) and node.name == frame.f_code.co_name:
            rest = _statements(node)
            found = [inner for inner in rest if inner.lineno == line and isinstance(inner, ast.Raise)]
            if found:
                return Raised.NOT_STARTED if rest == found else Raised.STUB_LEFT
    return None


def _one_of_several(frame: FrameType, line: int) -> str:
    """Return the name of a method that is still a stub if another one of its class is written; else an empty string."""
    tree = _source(frame)
    for node in ast.walk(tree) if tree else ():
        methods = (
            [inner for inner in node.body if isinstance(inner, _FUNCTION)] if isinstance(node, ast.ClassDef) else []
        )
        if any(inner.lineno <= line <= (inner.end_lineno or 0) for inner in methods):
            written = any(not isinstance(inner, ast.Raise) for method in methods for inner in _statements(method))
            return frame.f_code.co_name if written else ""
    return ""


def _source(frame: FrameType) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return the statements of a function, without its docstring."""
    return [
        inner for inner in function.body if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
    ]


def _called(own: list[tuple[FrameType, int]]) -> str:
    """Return the name of the stub that the answer calls; an empty string if it is itself the stub."""
    if len(own) == 1:
        return ""
    outer, inner = (frame.f_code.co_qualname.rpartition("<locals>.")[2] for frame in (own[0][0], own[-1][0]))
    same_class = outer.partition(".")[0] == inner.partition(".")[0]
    return inner if same_class else inner.partition(".")[0]


def _outcome_of(error: BaseException, message: str, in_learners_code: bool) -> Raised:
    """Return the code of an exception. Only messages of Python and torch themselves are recognised by their text."""
    if type(error) is NotImplementedError and message.endswith('is missing the required "forward" function'):
        return Raised.NO_FORWARD
    if isinstance(error, TypeError) and "argument" in message and not in_learners_code:
        return Raised.WRONG_ARGUMENTS
    if isinstance(error, RuntimeError) and "inplace" in message.replace("-", ""):
        return Raised.MODIFIED_IN_PLACE
    if isinstance(error, RuntimeError) and message.startswith("Can't call numpy() on Tensor that requires grad"):
        return Raised.NUMPY_OF_GRADIENTS
    return Raised.OTHER
