"""Codes for how a request to submitted code can end. `grader/diagnose.py` turns them into sentences."""

from __future__ import annotations

import linecache
import os
import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

LONGEST_MESSAGE = 1000
_FOLDERS = (Path(torch.__file__).parent.parent, Path(os.__file__).parent, Path(__file__).parent)
_WITHOUT_A_FILE = ("<frozen", "<__array", "<reference")
# Code that is not the learner's: installed packages, the standard library, this folder, and code without a file.
_NOT_THE_LEARNERS = (*(str(path) for folder in _FOLDERS for path in (folder, folder.resolve())), *_WITHOUT_A_FILE)


class Raised(StrEnum):
    """The ways in which an exception can end a request, as reported by the process that runs the code."""

    OTHER = "raised"
    NOT_STARTED = "not started"  # NotImplementedError, as a stub raises it; the message is the stub's name
    NO_FORWARD = "no forward"  # a layer has no method of that name
    NOT_DEFINED = "not defined"  # the cell of the exercise does not define its name, which is the message
    WRONG_ANSWER = "wrong answer"  # the exercise itself says so, in a sentence
    WRONG_ARGUMENTS = "wrong arguments"  # it cannot be called as the exercise asks
    WRONG_PARAMETERS = "wrong parameters"  # a layer has others than the state that it is given; the message names both
    ELLIPSIS = "returned an ellipsis"  # `...`, which stands for what is still to be written
    MODIFIED_IN_PLACE = "modified in place"  # autograd refuses: it still needs the old values
    NUMPY_OF_GRADIENTS = "numpy of gradients"  # NumPy was given a tensor that requires gradients


class Lost(StrEnum):
    """The ways in which a request can get no answer; the grader notices, and the process is gone afterwards.

    The value is shown to the instructor: "the code ...".
    """

    TIMED_OUT = "took too long"
    NO_ANSWER = "sent no answer"
    SUBMISSION_TIMED_OUT = "took too long, all requests of the submission together"
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
    line = text = stub = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        ours = str(frame.f_globals.get("__name__", "")).startswith("course_lib.")
        if not ours and not file.startswith(_NOT_THE_LEARNERS):
            line, text = number, linecache.getline(file, number).strip() or None
            stub = frame.f_code.co_qualname.rpartition("<locals>.")[2].partition(".")[0]
    if isinstance(error, SyntaxError) and line is None:
        line, text = error.lineno, (error.text or "").strip() or None
    outcome = _outcome_of(error, message, in_learners_code=line is not None)
    if outcome is Raised.NOT_STARTED and stub:
        message = stub
    return Failure(outcome, type(error).__name__, message[:LONGEST_MESSAGE], line, text)


def _outcome_of(error: BaseException, message: str, in_learners_code: bool) -> Raised:
    """Return the code of an exception. Only messages of Python and torch themselves are recognised by their text."""
    if type(error) is NotImplementedError and message.endswith('is missing the required "forward" function'):
        return Raised.NO_FORWARD
    if type(error) is NotImplementedError:
        return Raised.NOT_STARTED
    if isinstance(error, TypeError) and "argument" in message and not in_learners_code:
        return Raised.WRONG_ARGUMENTS
    if isinstance(error, RuntimeError) and "inplace" in message.replace("-", ""):
        return Raised.MODIFIED_IN_PLACE
    if isinstance(error, RuntimeError) and message.startswith("Can't call numpy() on Tensor that requires grad"):
        return Raised.NUMPY_OF_GRADIENTS
    return Raised.OTHER
