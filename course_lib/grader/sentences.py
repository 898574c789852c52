"""The sentences for outcomes: what a learner and an instructor read for each code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

from course_lib.exercises.spec import Exercise
from course_lib.grader.inside.outcomes import Failure, Outcome

_NO_ANSWER = {
    Outcome.TIMED_OUT: "it ran for more than {limit:g} s and was stopped",
    Outcome.SUBMISSION_TIMED_OUT: "the whole submission took longer than {limit:g} s",
    Outcome.OUT_OF_MEMORY: "it used more than {megabytes:.0f} MB of memory",
    Outcome.CRASHED: "it ended the Python process: by an exit, a crash, or for want of memory",
    Outcome.BAD_REPLY: "it sent something that is no answer",
    Outcome.NO_MORE_WORKERS: "the submission kept killing the process that runs it",
}
_FLAGS = {
    Outcome.TIMED_OUT: "sent no answer in time",
    Outcome.SUBMISSION_TIMED_OUT: "sent no answer in time",
    Outcome.OUT_OF_MEMORY: "ran out of memory",
    Outcome.BAD_REPLY: "sent something that is no answer",
    Outcome.CRASHED: "ended its process",
}


def failure_sentence(failure: Failure, exercise: Exercise | None = None, hide_values: bool = False) -> str:
    """Say why there is no answer, with the learner's own line where it is known.

    Args:
        failure: What went wrong.
        exercise: Whose function it was.
        hide_values: Leave out fractions that the message holds: they may be numbers of a case.
    """
    if failure.outcome in _NO_ANSWER:
        limit = failure.limit or 0
        return _NO_ANSWER[failure.outcome].format(limit=limit, megabytes=limit / 2**20)
    message = failure.message.strip().split("\n")[0]
    if hide_values:
        message = re.sub(r"-?\d*\.\d+(e[-+]?\d+)?", "...", message)
    if failure.outcome is Outcome.WRONG:
        return message
    if failure.outcome is Outcome.NOT_DEFINED:
        return f"the cell of this exercise does not define `{message}`"
    if failure.line is None:
        return _without_line(failure, message, exercise)
    code = f", `{failure.text}`" if failure.text else ""
    stopped = f"your code stopped at line {failure.line}{code}: "
    if failure.outcome is Outcome.NUMPY_OF_GRADIENTS:
        return (
            f"{stopped}NumPy cannot record gradients, and gradients have to flow through your "
            "function. Stay in torch: its functions mostly have the same names."
        )
    return f"{stopped}{failure.type}{': ' if message else ''}{message}"


def _without_line(failure: Failure, message: str, exercise: Exercise | None) -> str:
    """For a failure that is in no line of the learner's, such as in the call itself."""
    if failure.outcome is Outcome.WRONG_ARGUMENTS and exercise:
        signature = inspect.signature(exercise.reference)
        return f"the arguments do not fit ({message}). It must be callable as `{exercise.name}{signature}`."
    if failure.outcome is Outcome.WRONG_PARAMETERS:
        return f"{message}."
    if failure.outcome is Outcome.MODIFIED_IN_PLACE:
        return (
            "a tensor is changed in place, and its gradients need it as it was. Of a tensor's operations, use those "
            "without a trailing underscore, and `x = x + y` rather than `x += y`."
        )
    return f"the check could not go on with what came back ({failure.type}: {message})."


def flag(outcome: Outcome) -> str:
    """How code took its process down, for the instructor to look at: "the code ..."."""
    return _FLAGS[outcome]


def no_code(exercise: Exercise, problem: str | None) -> str:
    """Why nothing of an exercise could run.

    Args:
        exercise: The exercise.
        problem: Why its cell is no Python; None when there is no such cell.
    """
    if problem is None:
        return f"no cell begins with `# EXERCISE: {exercise.id}`"
    return f"its cell is not valid Python ({problem})"


def notes(repeated: bool, replaced: Sequence[Exercise]) -> list[str]:
    """What else the author and the instructor should know about an exercise.

    Args:
        repeated: Several cells have its mark.
        replaced: Exercises that it builds on, in whose place the references ran.
    """
    found = []
    if repeated:
        found.append("More than one cell has the mark of this exercise; the last one counts.")
    if replaced:
        names = ", ".join(f"`{exercise.name}`" for exercise in replaced)
        several = len(replaced) > 1
        place = "the references took the place of them" if several else "the reference took the place of it"
        found.append(f"It builds on {names}, which did not pass; {place}.")
    return found


def summary(outcome: Outcome, passed: Sequence[bool], reason: str | None = None) -> str:
    """How an exercise did, in a line of the report.

    Args:
        outcome: The code for it.
        passed: Which checks passed.
        reason: Why nothing could run, where nothing could: see `no_code`.
    """
    if outcome is Outcome.PASSED:
        return "All checks passed."
    if outcome is Outcome.WRONG:
        return f"{sum(passed)} of {len(passed)} checks passed."
    if outcome is Outcome.NOT_STARTED:
        return "Not started yet."
    return f"Not graded: {reason}."
