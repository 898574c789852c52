"""Putting an exercise's questions to a subject: what came back, what is right, which mistake it looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from course_lib.exercises.spec import Case, Exercise, Subject, cotangent
from course_lib.grader.compare import Difference, compare
from course_lib.grader.diagnose import explain
from course_lib.grader.inside import calls

VISIBLE_SEED = 0
# Float64 and float32 answers of one reference differ by rounding; by more, they came from different random numbers.
SAME_COMPUTATION = 1e-2

local: Callable[[Any], calls.Local] = partial(calls.Local, cotangent=cotangent)


class Trouble(Exception):
    """The code under test failed behind a sandbox; `described` is what `calls.describe_error` said there."""

    def __init__(self, type: str, message: str, line: int | None = None, text: str | None = None):
        super().__init__(message)
        self.described = {"type": type, "message": message, "line": line, "text": text}


@dataclass(frozen=True)
class Outcome:
    """What came of one case: a value or an error, and the argument that was changed in place."""

    value: Any = None
    error: dict[str, Any] | None = None
    changed: int | str | None = None


@dataclass(frozen=True)
class Verdict:
    """How a subject did.

    passed: one truth value a case. started: False while the stub raises NotImplementedError.
    mistake: the message of the known mistake, if it is one. diagnosis: what is wrong with the first wrong case.
    """

    exercise: Exercise
    cases: list[Case]
    passed: list[bool]
    started: bool = True
    mistake: str | None = None
    diagnosis: str | None = None

    def __bool__(self) -> bool:
        return all(self.passed)


def ask(exercise: Exercise, subject: Subject, case: Case) -> Outcome:
    """Put one case to a subject. Only KeyboardInterrupt passes through."""
    subject.changed = None
    try:
        value = calls.plain(exercise.run_case(subject, *calls.fresh(case.args), **calls.fresh(case.kwargs)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        described = error.described if isinstance(error, Trouble) else calls.describe_error(error)
        return Outcome(error=described, changed=subject.changed)
    return Outcome(value, changed=subject.changed)


class Exam:
    """The cases of an exercise for one seed, with the right answers and the answers of each known mistake.

    Not to be made in two threads at once: the reference runs under another default dtype and seeded generators.
    """

    def __init__(self, exercise: Exercise, seed: int = VISIBLE_SEED):
        self.exercise = exercise
        self.cases = exercise.cases(torch.Generator().manual_seed(seed))
        self.expected = [_right_answer(exercise, case) for case in self.cases]
        self._rivals: list[list[Outcome]] | None = None

    @property
    def rivals(self) -> list[list[Outcome]]:
        """For each known mistake, its outcome for each case; made when first needed."""
        if self._rivals is None:
            self._rivals = [
                [ask(self.exercise, local(m.solution), c) for c in self.cases] for m in self.exercise.mistakes
            ]
        return self._rivals

    def mark(self, subject: Subject, hide_values: bool = False) -> Verdict:
        """Ask every case, the first one twice; hide_values leaves the numbers of the cases out of the diagnosis."""
        exercise, cases = self.exercise, self.cases
        outcomes = []
        for case in cases:
            outcomes.append(ask(exercise, subject, case))
            if (error := outcomes[0].error) and error["type"] == "NotImplementedError":
                return Verdict(exercise, cases, [False] * len(cases), started=False)
        wrong = [self._difference(i, outcome) for i, outcome in enumerate(outcomes)]
        # The same question at the end must give the same answer: a result may depend on the arguments only.
        again = ask(exercise, subject, cases[0])
        steady = self._steady(0, outcomes[0], again)
        passed = [w is None for w in wrong]
        if not steady:
            passed[0] = False
        if all(passed):
            return Verdict(exercise, cases, passed)
        first = passed.index(False)
        if first > 0:
            again = ask(exercise, subject, cases[first])
            steady = self._steady(first, outcomes[first], again)
        text = explain(exercise, cases[first], outcomes[first], wrong[first], steady, hide_values)
        return Verdict(exercise, cases, passed, mistake=self._recognise(outcomes, passed), diagnosis=text)

    def _difference(self, i: int, outcome: Outcome) -> Difference | str | None:
        if outcome.error:
            return "error"
        found = compare(self.expected[i], outcome.value, *self._tolerances(i))
        return found or (None if outcome.changed is None else "changed")

    def _steady(self, i: int, before: Outcome, again: Outcome) -> bool:
        """Whether two answers to case i are one, but for rounding: threads may add in another order."""
        if before.error or again.error:
            return before.error == again.error
        return compare(before.value, again.value, *self._tolerances(i), equal_nan=True) is None

    def _tolerances(self, i: int) -> tuple[float, float]:
        case, exercise = self.cases[i], self.exercise
        return (
            exercise.rtol if case.rtol is None else case.rtol,
            exercise.atol if case.atol is None else case.atol,
        )

    def _recognise(self, outcomes: list[Outcome], passed: list[bool]) -> str | None:
        """The known mistake whose answers these are: in all the wrong cases, or else in the first wrong one."""
        wrong = [i for i, ok in enumerate(passed) if not ok]
        best, message = (0, 0), None
        for mistake, rival in zip(self.exercise.mistakes, self.rivals, strict=True):
            alike = [_alike(self.exercise, c, a, b) for c, a, b in zip(self.cases, outcomes, rival, strict=True)]
            # Where the mistake is right itself, an answer close to it says nothing.
            alike = [a and (passed[i] or self._difference(i, rival[i]) is not None) for i, a in enumerate(alike)]
            if all(alike[i] for i in wrong):
                score = (2, sum(alike))
            elif alike[wrong[0]] and _telling(outcomes[wrong[0]].value):
                score = (1, sum(alike))
            else:
                continue
            if score > best:
                best, message = score, mistake.message
        return message


def _right_answer(exercise: Exercise, case: Case) -> Any:
    """The reference's answer, computed in float64 where it can be and rounded to the dtype that the case asks for."""
    low = ask(exercise, local(exercise.reference), case)
    if low.error:
        raise ValueError(f"the reference of {exercise.id!r} fails on {case.name!r}: {low.error}")
    right = low.value
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        wide = replace(case, args=_in_float64(case.args), kwargs=_in_float64(case.kwargs))
        high = ask(exercise, local(exercise.reference), wide)
    finally:
        torch.set_default_dtype(default)
    if not high.error:
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


def _alike(exercise: Exercise, case: Case, a: Outcome, b: Outcome) -> bool:
    if a.error and b.error:
        return a.error["type"] == b.error["type"] and a.error["message"] == b.error["message"]
    if a.error or b.error:
        return False
    if a.changed != b.changed:
        return False
    # A little wider than for a right answer, since both sides are in the dtype of the case.
    rtol, atol = max(10 * exercise.rtol, case.rtol or 0.0), max(10 * exercise.atol, case.atol or 0.0)
    return compare(b.value, a.value, rtol, atol, equal_nan=True) is None


def _telling(value: Any) -> bool:
    """Whether an answer could hardly be met by chance: finite numbers that are not all the same."""
    tensors = [t.double() for t in calls.leaves(value) if isinstance(t, torch.Tensor)]
    return (
        bool(tensors)
        and all(t.isfinite().all() for t in tensors)
        and any(t.numel() and t.min() != t.max() for t in tensors)
    )
