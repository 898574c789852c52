"""Running the cases of an exercise on code under test, comparing the answers, and recognising known mistakes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Any

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer
from course_lib.grader.compare import Difference, Kind, compare
from course_lib.grader.diagnose import also_changed, explain
from course_lib.grader.inside import calls
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised, describe_error
from course_lib.grader.stored import read_stored

VISIBLE_SEED = 0
MOST_FOR_A_WRONG_ANSWER = 0.5  # of the points: who fails a check has not solved the exercise, however few checks it is
# Float64 and float32 answers of one reference differ by rounding; a larger difference means other random numbers.
SAME_COMPUTATION = 1e-2


class Outcome(StrEnum):
    """The outcome of one exercise."""

    PASSED = "passed"
    WRONG = "wrong"
    NOT_STARTED = "not started"  # the stub raises NotImplementedError
    NOT_ATTEMPTED = "not attempted"  # no cell has the mark of the exercise
    NOT_MARKED = "not marked"  # so it is too, but a cell defines its name
    NOT_PYTHON = "not Python"  # the cell cannot be parsed


@dataclass
class Result:
    """The result of one exercise; true if every case passed.

    Attributes:
        exercise: The exercise.
        outcome: The outcome of the whole exercise.
        checks: For each case that was run, by its name, whether the answer was right.
        not_run: The names of those that were not run, since an earlier one had exceeded a limit.
        mistake: The message of the known mistake, if the answers match one.
        diagnosis: What is wrong with the first wrong answer.
        problem: Why nothing could run, if so.
        notes: What else the author and the instructor should know.
        avoided: Names in the code that the exercise asks to avoid.
        ended: How the process that ran the code last ended, or None.
        fresh: The names of the cases that no visible check asks: a wrong answer earns points by these alone.
        source: The cell with the answer, or "".
        shape: What stays of the answer if its names and its layout change; see `inside.shape`.
    """

    exercise: Exercise
    outcome: Outcome
    checks: dict[str, bool] = field(default_factory=dict)
    mistake: str | None = None
    diagnosis: str | None = None
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    avoided: list[str] = field(default_factory=list)
    ended: Failure | None = None
    not_run: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    source: str = ""
    shape: str = ""

    def __bool__(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def points(self) -> float:
        """All points if every case passed; else up to half of them, by the share of fresh cases that passed.

        Rounded down to cents. What visible checks ask as well, a table of their answers would pass.
        """
        if self:
            return float(self.exercise.points)
        if not self.checks or not self.fresh:
            return 0.0
        share = sum(self.checks[name] for name in self.fresh) / len(self.fresh)
        return math.floor(100 * self.exercise.points * MOST_FOR_A_WRONG_ANSWER * share) / 100

    @property
    def summary(self) -> str:
        """The result in one line."""
        if self.outcome is Outcome.PASSED:
            return "All checks passed."
        if self.outcome is Outcome.WRONG:
            return f"{sum(self.checks.values())} of {len(self.checks)} checks passed."
        return f"Not graded: {self.problem}." if self.problem else "Not started yet."


class Exam:
    """The cases of an exercise for one seed, with the right answers and the answers of each known mistake.

    Do not create exams in two threads at once: the reference runs with another default dtype and seeded generators.

    Attributes:
        exercise: The exercise.
        cases: The cases of the exercise.
        fresh: The names of the cases whose arguments no visible case has.
        expected: The right answer to each case.
        messages: The message of each known mistake.
    """

    def __init__(self, exercise: Exercise, seed: int = VISIBLE_SEED):
        self.exercise = exercise
        self.fresh: list[str]
        if exercise.stored:
            if seed != VISIBLE_SEED:
                from course_lib.errors import CourseError

                raise CourseError("this is a student version, without hidden cases; grade with the full course")
            self.cases, self.expected, self.messages, self.rivals = read_stored(exercise.stored)
            self.fresh = []
            return
        self.messages = [mistake.message for mistake in exercise.mistakes]
        self.cases, visible = (exercise.cases(torch.Generator().manual_seed(s)) for s in (seed, VISIBLE_SEED))
        private = []
        if exercise.private and seed != VISIBLE_SEED:
            private = exercise.private(torch.Generator().manual_seed(seed))
        self.cases = [*self.cases, *private]
        asked = [_arguments(case) for case in visible]
        self.fresh = [
            case.name for case in self.cases if not any(calls.same(_arguments(case), other) for other in asked)
        ]
        with calls.generators_kept():
            self.expected = [right_answer(exercise, case, any(case is own for own in private)) for case in self.cases]

    @cached_property
    def rivals(self) -> list[list[Answer]]:
        """The answers to all cases, for each known mistake; computed when first needed."""
        wrong = [calls.LocalSubject(mistake.solution) for mistake in self.exercise.mistakes]
        return [[ask(self.exercise, subject, case) for case in self.cases] for subject in wrong]

    def grade(self, subject: calls.Subject, hide_values: bool = False) -> Result:
        """Run every case, and the first one again at the end.

        Args:
            subject: The code under test.
            hide_values: Whether to leave the numbers of the cases out of the diagnosis.
        """
        with calls.generators_kept():
            return self._grade(subject, hide_values)

    def _grade(self, subject: calls.Subject, hide_values: bool) -> Result:
        exercise, cases = self.exercise, self.cases
        answers: list[Answer] = []
        for case in cases:
            answers.append(ask(exercise, subject, case))
            failure = answers[0].failure
            if failure and failure.outcome is Raised.NOT_STARTED and failure.message in ("", exercise.name):
                return Result(exercise, Outcome.NOT_STARTED)
        wrong = [self._what_is_wrong(i, answer) for i, answer in enumerate(answers)]
        # The same case must give the same answer at the end: a result may depend on the arguments only.
        wrong[0] = self._when_asked_again(subject, 0, answers) or wrong[0]
        passed = [found is None for found in wrong]
        checks = {case.name: ok for case, ok in zip(cases, passed, strict=True)}
        # A wrong value says more than the wrong gradient of another case.
        first, found = min(enumerate(wrong), key=lambda one: _rank(one[1]))
        if found is None:
            return Result(exercise, Outcome.PASSED, checks, fresh=self.fresh)
        if first > 0:
            found = self._when_asked_again(subject, first, answers) or found
        diagnosis = explain(exercise, cases[first], found, hide_values)
        changed = answers[first].changed
        if changed is not None and getattr(found, "kind", None) not in (Kind.CHANGED, Kind.UNSTEADY):
            diagnosis = also_changed(diagnosis, exercise, changed)
        not_run = [case.name for case, found in zip(cases, wrong, strict=True) if _was_not_run(found)]
        mistake = self._recognise(answers, passed, first)
        return Result(exercise, Outcome.WRONG, checks, mistake, diagnosis, not_run=not_run, fresh=self.fresh)

    def _what_is_wrong(self, i: int, answer: Answer) -> Difference | Failure | None:
        changed = None if answer.changed is None else Difference(Kind.CHANGED, (answer.changed,))
        if answer.failure:
            spoiled = changed if answer.failure.outcome is Raised.MODIFIED_IN_PLACE else None
            return spoiled or answer.failure
        difference = compare(self.expected[i], answer.value, *self._tolerances(i))
        if difference and (say := self.exercise.remark) and (remark := say(answer.value, self.expected[i])):
            return Failure(Raised.WRONG_ANSWER, message=remark)
        # What is changed in place gets the gradients wrong, too, if `.data` hides the change from autograd.
        return changed if difference is None or (changed and difference.is_derivative) else difference

    def _when_asked_again(self, subject: calls.Subject, i: int, answers: list[Answer]) -> Difference | Failure | None:
        """Return what is wrong if case i, run again, gives another answer; rounding aside: threads may add otherwise.

        No answer is no other answer: if the code has been stopped before, nothing is known.
        """
        if answers[i].failure:
            return None  # the failure says more
        again = ask(self.exercise, subject, self.cases[i])
        if again.failure and isinstance(again.failure.outcome, Lost):
            stopped_before = any(a.failure and isinstance(a.failure.outcome, Lost) for a in answers)
            return None if stopped_before else again.failure
        tolerances = self._tolerances(i)
        if again.failure or compare(answers[i].value, again.value, *tolerances, equal_nan=True):
            return Difference(Kind.UNSTEADY, ())
        return None

    def _tolerances(self, i: int) -> tuple[float, float]:
        case, exercise = self.cases[i], self.exercise
        rtol = exercise.rtol if case.rtol is None else case.rtol
        atol = exercise.atol if case.atol is None else case.atol
        return rtol, atol

    def _recognise(self, answers: list[Answer], passed: list[bool], told: int) -> str | None:
        """Return the known mistake whose answers these are: in all the wrong cases, or else in the one that is told.

        Args:
            answers: The answers to all cases.
            passed: For each case, whether the answer is right.
            told: The case that the diagnosis is about; the mistake and the diagnosis then speak of the same.
        """
        wrong = [i for i, ok in enumerate(passed) if not ok]

        def alike(rival: list[Answer], i: int) -> bool:
            # If the mistake's answer is right, an answer close to it proves nothing.
            close = _alike(self.exercise, self.cases[i], answers[i], rival[i])
            return close and (passed[i] or self._what_is_wrong(i, rival[i]) is not None)

        best, message = (0, 0), None
        for known, rival in zip(self.messages, self.rivals, strict=True):
            if not alike(rival, told):  # without this one, no other counts
                continue
            shared = {i for i in range(len(answers)) if alike(rival, i)}
            if shared.issuperset(wrong):
                score = (2, len(shared))
            elif self._telling(answers, told, sorted(shared.intersection(wrong) - {told})):
                score = (1, len(shared))
            else:
                continue
            if score > best:
                best, message = score, known
        return message

    def _telling(self, answers: list[Answer], told: int, others: list[int]) -> bool:
        """Check that wrong answers which equal those of a known mistake could hardly do so by chance.

        One tensor of finite numbers that are not all the same is enough. Of numbers there have to be two.

        Args:
            answers: The answers to all cases.
            told: The case that the diagnosis is about.
            others: The other cases in which the answers are alike.
        """
        first = answers[told].value
        tensors = [t.double() for t in calls.leaves(first) if isinstance(t, torch.Tensor)]
        if any(t.numel() and t.min() != t.max() for t in tensors):
            return all(t.isfinite().all() for t in tensors)
        return _is_computed(first, self.cases[told]) and any(
            _is_computed(answers[i].value, self.cases[i]) and not calls.same(answers[i].value, first) for i in others
        )


def _arguments(case: Case) -> tuple[list[Any], dict[str, Any]]:
    return list(case.args), case.kwargs


def _was_not_run(found: Difference | Failure | None) -> bool:
    return isinstance(found, Failure) and found.outcome is Lost.NOT_RUN


def _rank(found: Difference | Failure | None) -> int:
    """Return which of several things that are wrong is said: the lowest, and the first of equals."""
    if found is None:
        return 2
    return int(isinstance(found, Difference) and found.is_derivative)


def ask(exercise: Exercise, subject: calls.Subject, case: Case) -> Answer:
    """Run one case on a subject. Only KeyboardInterrupt passes through."""
    subject.changed = None
    value = failure = None
    try:
        value = calls.plain(exercise.run_case(subject, *calls.fresh(case.args), **calls.fresh(case.kwargs)))
    except KeyboardInterrupt:
        raise
    except WrongAnswer as error:
        failure = Failure(Raised.WRONG_ANSWER, message=str(error))
    except BaseException as error:
        failure = describe_error(error)
    return Answer(value, failure, subject.changed)


def right_answer(exercise: Exercise, case: Case, private: bool = False) -> Any:
    """Compute the reference's answer, in float64 if possible, rounded to the dtype that the case asks for.

    Args:
        exercise: The exercise.
        case: The case.
        private: Whether it is an instructor's own case, whose file an error names.

    Raises:
        ExerciseError: If the reference fails on the case.
    """
    low = ask(exercise, calls.LocalSubject(exercise.reference), case)
    if low.failure:
        from course_lib.exercises import lab_of
        from course_lib.exercises.errors import ExerciseError

        where = f"own_exercises/{lab_of(exercise.id)}/{exercise.id}.py: on a private case, " if private else ""
        raise ExerciseError(f"{where}the reference of {exercise.id!r} fails on {case.name!r}: {low.failure}")
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
    if case.expected is None:
        return right
    differentiated = isinstance(right, dict) and set(right) == {"output", "gradients"}
    only_output = differentiated and not isinstance(case.expected, dict)
    return {**right, "output": case.expected} if only_output else case.expected


def _in_float64(value: Any) -> Any:
    return calls.tree_map(lambda x: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, value)


def _rounded_like(like: Any, value: Any) -> Any:
    if isinstance(like, dict) and isinstance(value, dict) and list(like) == list(value):
        return {key: _rounded_like(like[key], value[key]) for key in like}
    if isinstance(like, list) and isinstance(value, list) and len(like) == len(value):
        return [_rounded_like(a, b) for a, b in zip(like, value, strict=True)]
    return value.to(like.dtype) if isinstance(like, torch.Tensor) and isinstance(value, torch.Tensor) else value


def _alike(exercise: Exercise, case: Case, a: Answer, b: Answer) -> bool:
    if a.failure and b.failure:
        return (a.failure.type, a.failure.message) == (b.failure.type, b.failure.message)
    if a.failure or b.failure or a.changed != b.changed:
        return False
    # A little wider than for a right answer, since both sides are in the dtype of the case.
    rtol, atol = max(10 * exercise.rtol, case.rtol or 0.0), max(10 * exercise.atol, case.atol or 0.0)
    return compare(b.value, a.value, rtol, atol, equal_nan=True) is None


def _is_computed(value: Any, case: Case) -> bool:
    """Check that all floats of an answer are finite, and that one of them can hardly be had but by computing it.

    That is none of the numbers of the case, nor a simple fraction, as counts are, and shares of few.
    """
    floats = [float(x) for x in calls.leaves(value) if isinstance(x, float) or _is_scalar(x)]
    if not all(map(math.isfinite, floats)):
        return False
    numbers = [x for x in calls.leaves(_arguments(case)) if isinstance(x, (float, torch.Tensor))]
    given = torch.cat([torch.zeros(1).double(), *(torch.as_tensor(x).real.double().flatten() for x in numbers)])

    def is_simple(x: float) -> bool:
        close = 1e-6 * abs(x)  # what float32 can tell apart
        return abs(x - Fraction(x).limit_denominator(100)) <= close or bool(((given - x).abs() <= close).any())

    return not all(map(is_simple, floats))


def _is_scalar(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.dim() == 0 and x.is_floating_point()
