"""How a request to submitted code can end, as codes. `grader/sentences.py` makes the sentences from them."""

from __future__ import annotations

import linecache
import os
import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch

LONGEST_MESSAGE = 300
_FOLDERS = (Path(torch.__file__).parent.parent, Path(os.__file__).parent, Path(__file__).parent)
# Where the lines of other people are: installed packages, the standard library, this folder, and code without a file.
_NOT_THE_LEARNERS = (
    *(str(folder) for folder in _FOLDERS),
    *(str(folder.resolve()) for folder in _FOLDERS),
    "<frozen",
    "<__array",
    "<reference",
)


class Outcome(StrEnum):
    """How one request ended, or one exercise of a submission."""

    ANSWERED = "answered"

    # An exception ended it: the process that runs the code says which of these.
    RAISED = "raised"
    NOT_STARTED = "not started"  # NotImplementedError, as the stub raises it
    NOT_DEFINED = "not defined"  # the cell of the exercise does not define its name
    WRONG_ARGUMENTS = "wrong arguments"  # it cannot be called as the exercise asks
    WRONG_PARAMETERS = "wrong parameters"  # a layer whose parameters have other names or shapes
    MODIFIED_IN_PLACE = "modified in place"  # autograd refuses: it still needs the old numbers
    NUMPY_OF_GRADIENTS = "numpy of gradients"  # NumPy was asked for a tensor that gradients flow through

    # No answer: the grader notices these, and the process is gone afterwards.
    TIMED_OUT = "timed out"
    SUBMISSION_TIMED_OUT = "submission timed out"  # all requests of a submission together took too long
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    BAD_REPLY = "bad reply"  # what came back is no answer
    NO_MORE_WORKERS = "no more workers"  # it has ended too many processes

    # The grader says so of an answer, or of a whole exercise.
    WRONG = "wrong"
    PASSED = "passed"
    NOT_ATTEMPTED = "not attempted"  # no cell has the mark of the exercise
    NOT_PYTHON = "not Python"  # the cell cannot be parsed


# A worker may say these; any other code from it is a bad reply.
FROM_THE_WORKER = frozenset(
    {
        Outcome.RAISED,
        Outcome.NOT_STARTED,
        Outcome.NOT_DEFINED,
        Outcome.WRONG_ARGUMENTS,
        Outcome.WRONG_PARAMETERS,
        Outcome.MODIFIED_IN_PLACE,
        Outcome.NUMPY_OF_GRADIENTS,
    }
)
# After these the process that ran the code is gone.
DEADLY = frozenset(
    {
        Outcome.TIMED_OUT,
        Outcome.SUBMISSION_TIMED_OUT,
        Outcome.OUT_OF_MEMORY,
        Outcome.CRASHED,
        Outcome.BAD_REPLY,
    }
)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, as plain data.

    Attributes:
        outcome: The code.
        type: Name of the exception's type, where there was one.
        message: What the exception says.
        line: Number of the deepest line that the learner wrote, in its cell.
        text: That line.
        limit: The limit that was passed: seconds, or bytes of memory.
    """

    outcome: Outcome
    type: str = ""
    message: str = ""
    line: int | None = None
    text: str | None = None
    limit: float | None = None


class Failed(Exception):
    """The code under test failed behind a sandbox; `failure` says how."""

    def __init__(self, failure: Failure):
        super().__init__(f"{failure.outcome}: {failure.type} {failure.message}".rstrip(" :"))
        self.failure = failure


class NotDefined(Exception):
    """The submission has no object of the exercise's name; the message is that name."""


class WrongParameters(ValueError):
    """A state does not fit an object; the message names the parameters of both."""


def describe_error(error: BaseException) -> Failure:
    """What an exception of the code under test means, and where the learner's code raised it."""
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)  # its str() says the line again
    except Exception:  # a hostile __str__
        message = ""
    line = text = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        ours = str(frame.f_globals.get("__name__", "")).startswith("course_lib.")
        if not ours and not file.startswith(_NOT_THE_LEARNERS):
            line, text = number, linecache.getline(file, number).strip() or None
    if isinstance(error, SyntaxError) and line is None:
        line, text = error.lineno, (error.text or "").strip() or None
    outcome = _outcome_of(error, message, in_learners_code=line is not None)
    return Failure(outcome, type(error).__name__, message[:LONGEST_MESSAGE], line, text)


def _outcome_of(error: BaseException, message: str, in_learners_code: bool) -> Outcome:
    """The code for an exception. Only what Python and torch themselves say has to be told by its text."""
    if type(error) is NotImplementedError:
        return Outcome.NOT_STARTED
    if isinstance(error, NotDefined):
        return Outcome.NOT_DEFINED
    if isinstance(error, WrongParameters) and not in_learners_code:
        return Outcome.WRONG_PARAMETERS
    if isinstance(error, TypeError) and "argument" in message and not in_learners_code:
        return Outcome.WRONG_ARGUMENTS
    if isinstance(error, RuntimeError) and "inplace" in message.replace("-", ""):
        return Outcome.MODIFIED_IN_PLACE
    if isinstance(error, RuntimeError) and message.startswith("Can't call numpy() on Tensor that requires grad"):
        return Outcome.NUMPY_OF_GRADIENTS
    return Outcome.RAISED
