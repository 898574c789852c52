"""One case put to code under test, and the right answer to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from course_lib.exercises.spec import Case, Exercise, Subject, WrongAnswer
from course_lib.grader.compare import compare
from course_lib.grader.inside import calls
from course_lib.grader.inside.outcomes import Failed, Failure, Outcome, describe_error

# Float64 and float32 answers of one reference differ by rounding; by more, they came from different random numbers.
SAME_COMPUTATION = 1e-2


@dataclass(frozen=True)
class Answer:
    """What came of one case.

    Attributes:
        value: The result, as plain data.
        failure: Why there is none, or None.
        changed: The argument (position or name) that was changed in place, or None.
    """

    value: Any = None
    failure: Failure | None = None
    changed: int | str | None = None


def ask(exercise: Exercise, subject: Subject, case: Case) -> Answer:
    """Put one case to a subject. Only KeyboardInterrupt passes through."""
    subject.changed = None
    try:
        value = calls.plain(exercise.run_case(subject, *calls.fresh(case.args), **calls.fresh(case.kwargs)))
    except KeyboardInterrupt:
        raise
    except WrongAnswer as error:
        failure = Failure(Outcome.WRONG, type(error).__name__, str(error))
    except Failed as error:
        failure = error.failure
    except BaseException as error:
        failure = describe_error(error)
    else:
        return Answer(value, changed=subject.changed)
    return Answer(failure=failure, changed=subject.changed)


def right_answer(exercise: Exercise, case: Case) -> Any:
    """The reference's answer, computed in float64 where it can be and rounded to the dtype that the case asks for.

    Raises:
        ValueError: The reference fails on the case.
    """
    low = ask(exercise, calls.LocalSubject(exercise.reference), case)
    if low.failure:
        raise ValueError(f"the reference of {exercise.id!r} fails on {case.name!r}: {low.failure}")
    right = low.value
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        wide = replace(case, args=_in_float64(case.args), kwargs=_in_float64(case.kwargs))
        high = ask(exercise, calls.LocalSubject(exercise.reference), wide)
    finally:
        torch.set_default_dtype(default)
    if not high.failure:
        rounded = _rounded_like(low.value, high.value)
        if compare(low.value, rounded, SAME_COMPUTATION, SAME_COMPUTATION, equal_nan=True) is None:
            right = rounded
    if case.expected is not None:
        differentiated = isinstance(right, dict) and set(right) == {"output", "gradients"}
        only_output = differentiated and not isinstance(case.expected, dict)
        right = {**right, "output": case.expected} if only_output else case.expected
    return right


def _in_float64(value: Any) -> Any:
    return calls.tree_map(lambda x: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, value)


def _rounded_like(like: Any, value: Any) -> Any:
    if isinstance(like, dict) and isinstance(value, dict) and list(like) == list(value):
        return {key: _rounded_like(like[key], value[key]) for key in like}
    if isinstance(like, list) and isinstance(value, list) and len(like) == len(value):
        return [_rounded_like(a, b) for a, b in zip(like, value, strict=True)]
    return value.to(like.dtype) if isinstance(like, torch.Tensor) and isinstance(value, torch.Tensor) else value
