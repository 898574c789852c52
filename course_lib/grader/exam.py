"""Running the cases of an exercise on code under test, comparing the answers, and recognising known mistakes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer
from course_lib.grader.asked import Heard, Listener, call_shown
from course_lib.grader.compare import Difference, Kind, compare
from course_lib.grader.diagnose import NEARLY, also_changed, argument_changed, explain, nothing_returned
from course_lib.grader.inside import calls
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised, describe_error
from course_lib.grader.rivals import Rival
from course_lib.grader.slips import slips_of
from course_lib.grader.stored import read_stored

VISIBLE_SEED = 0
MOST_FOR_A_WRONG_ANSWER = 0.5  # of the points: who fails a check has not solved the exercise, however few checks it is
# Float64 and float32 answers of one reference differ by rounding; a larger difference means other random numbers.
SAME_COMPUTATION = 1e-2
WIDE = 1e-2  # a relative tolerance from which on answers that are alike need not have been computed alike
FEW = 2  # checks; of more than these, one that alone is wrong says where to look
ROUNDED = " Is a small number added, or a result rounded?"
ALONE = " All other checks are right: what sets this one apart?"


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
        call: The call that the diagnosis is about, unless its numbers are hidden.
        crashed: Whether the diagnosis is about an answer that did not come.
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
    call: str | None = None
    crashed: bool = False

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
    """

    def __init__(self, exercise: Exercise, seed: int = VISIBLE_SEED, seconds: float | None = None):
        """Make the cases.

        Args:
            exercise: The exercise.
            seed: The seed of the cases.
            seconds: How long to compare a wrong answer with slips; None to compare it with all.
        """
        self.exercise, self.seconds = exercise, seconds
        self.fresh: list[str]
        if exercise.stored:
            if seed != VISIBLE_SEED:
                from course_lib.errors import CourseError

                raise CourseError("this is a student version, without hidden cases; grade with the full course")
            self.cases, self.expected, self.mistakes, self.slips = read_stored(exercise.stored)
            self.fresh = []
            return
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
    def mistakes(self) -> list[Rival]:
        """The answers of each known mistake."""
        return [self._rival(known.message, known.solution) for known in self.exercise.mistakes]

    @cached_property
    def slips(self) -> list[Rival]:
        """The answers of each slip that a beginner makes in any exercise."""
        return [self._rival(slip.message, slip.solution) for slip in slips_of(self.exercise)]

    def told_apart(self) -> list[Rival]:
        """Return the slips that answer every case, one of them wrongly, and not as an earlier slip does."""
        numbers = range(len(self.cases))
        kept: list[Rival] = []
        with calls.generators_kept():
            for slip in self.slips:
                answers = [slip[i] for i in numbers]
                if any(_crashed(answer) for answer in answers):
                    continue
                wrong = [self._what_is_wrong(i, answer) for i, answer in enumerate(answers)]
                if (
                    any(wrong)
                    and _is_telling(answers, wrong)
                    and not any(all(calls.same(vars(other[i]), vars(answers[i])) for i in numbers) for other in kept)
                ):
                    kept.append(slip)
        return kept

    def _rival(self, message: str, solution: Callable[..., Any]) -> Rival:
        return Rival(message, lambda i: ask(self.exercise, calls.LocalSubject(solution), self.cases[i]))

    def grade(self, subject: calls.Subject, hide_values: bool = False) -> Result:
        """Run every case, and the first one again at the end.

        Args:
            subject: The code under test.
            hide_values: Whether to leave the numbers of the cases out of the diagnosis.
        """
        with calls.generators_kept():
            return self._grade(subject, hide_values)

    def _grade(self, subject: calls.Subject, hide_values: bool) -> Result:
        exercise, cases, asked = self.exercise, self.cases, Listener(subject)
        answers: list[Answer] = []
        heard: list[tuple[list[Heard], Any]] = []
        for case in cases:
            asked.requests, asked.given = [], None
            answers.append(ask(exercise, asked, case))
            heard.append((asked.requests, asked.given))
            failure = answers[0].failure
            if failure and failure.outcome is Raised.NOT_STARTED and failure.message in ("", exercise.name):
                return Result(exercise, Outcome.NOT_STARTED)
        wrong = [self._what_is_wrong(i, answer) for i, answer in enumerate(answers)]
        # The same case must give the same answer at the end: a result may depend on the arguments only.
        wrong[0] = self._when_asked_again(subject, 0, answers) or wrong[0]
        checks = {case.name: found is None for case, found in zip(cases, wrong, strict=True)}
        # A wrong value says more than the wrong gradient of another case.
        first, found = min(enumerate(wrong), key=lambda one: _rank(one[1]))
        if found is None:
            return Result(exercise, Outcome.PASSED, checks, fresh=self.fresh)
        if first > 0:
            found = wrong[first] = self._when_asked_again(subject, first, answers) or found
        result = Result(exercise, Outcome.WRONG, checks, fresh=self.fresh)
        result.mistake = self._recognise(answers, wrong)
        if not result.mistake and self._draws(subject, first, answers[first], found):
            found = Difference(Kind.UNSTEADY, ())
        result.diagnosis = self._explain(first, found, answers, heard[first][1], hide_values)
        result.crashed = _crashed(answers[first])
        if not result.mistake:
            alone = len(wrong) > FEW and sum(one is not None for one in wrong) == 1
            result.diagnosis += f"{ROUNDED if NEARLY in result.diagnosis else ''}{ALONE if alone else ''}"
        result.not_run = [case.name for case, found in zip(cases, wrong, strict=True) if _was_not_run(found)]
        if not hide_values:
            path = found.path if isinstance(found, Difference) else None
            result.call = call_shown(exercise, heard[first][0], self.expected[first], path)
        return result

    def _explain(
        self, first: int, found: Difference | Failure, answers: Sequence[Answer], given: Any, hide_values: bool
    ) -> str:
        """Explain what is wrong with one answer, in the light of all others."""
        exercise, changed = self.exercise, answers[first].changed
        if isinstance(found, Difference) and found.kind is Kind.CHANGED:
            return argument_changed(exercise, self.cases[first], changed, given)
        diagnosis = explain(exercise, self.cases[first], found, hide_values)
        unsteady = getattr(found, "kind", None) is Kind.UNSTEADY
        if isinstance(found, Difference) and found.got is None and found.path in ((), ("output",)) and not unsteady:
            results = [[_result(value) for value in values] for values in (self.expected, [a.value for a in answers])]
            diagnosis += nothing_returned(*results)
        if changed is not None and not unsteady:
            diagnosis = also_changed(diagnosis, exercise, changed)
        return diagnosis

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

    def _draws(self, subject: calls.Subject, i: int, answer: Answer, found: Difference | Failure) -> bool:
        """Return whether a wrong answer to case i comes of random numbers, and the right one does not.

        Known only of code in this process: in a sandbox every call begins at the one seed.
        """
        if not isinstance(found, Difference) or found.kind not in (Kind.VALUE, Kind.FINITE):
            return False
        case, reference = self.cases[i], calls.LocalSubject(self.exercise.reference)
        right = ask(self.exercise, reference, case)
        with calls.another_seed():
            again, right_again = ask(self.exercise, subject, case), ask(self.exercise, reference, case)
        # To the bit: where a measurement is asked for, right answers vary by chance too, and all within the tolerance.
        if again.failure or right_again.failure or compare(right.value, right_again.value, 0.0, 0.0, equal_nan=True):
            return False
        return compare(answer.value, again.value, 0.0, 0.0, equal_nan=True) is not None

    def _tolerances(self, i: int) -> tuple[float, float]:
        case, exercise = self.cases[i], self.exercise
        rtol = exercise.rtol if case.rtol is None else case.rtol
        atol = exercise.atol if case.atol is None else case.atol
        return rtol, atol

    def _recognise(self, answers: Sequence[Answer], wrong: Sequence[Difference | Failure | None]) -> str | None:
        """Return the message of the known mistake that gives all these answers: right, wrong and none alike.

        A mistake that explains only a part would tell a learner of something that they have not done.

        Args:
            answers: The answers to all cases.
            wrong: What is wrong with each, or None.
        """
        if any(isinstance(found, Difference) and found.kind is Kind.UNSTEADY for found in wrong):
            return None
        for known in self.mistakes:
            if self._explains(known, answers, wrong):
                return known.message
        wide = any(self._tolerances(i)[0] > WIDE for i in range(len(self.cases)))
        if wide or not _is_telling(answers, wrong):
            return None
        stop = time.process_time() + (self.seconds or math.inf)
        for slip in self.slips:
            if self._explains(slip, answers, wrong):
                return slip.message
            if time.process_time() > stop:
                break
        return None

    def _explains(self, rival: Rival, answers: Sequence[Answer], wrong: Sequence[Difference | Failure | None]) -> bool:
        """Check that a wrong solution gives these answers, and that each wrong one is wrong there too."""
        # The wrong values first: most rivals have others, and their further answers need not be computed.
        order = sorted(range(len(answers)), key=lambda i: (wrong[i] is None, answers[i].failure is not None))
        return all(
            _alike(self.exercise, self.cases[i], answers[i], rival[i])
            # Close to a wrong answer is not wrong itself: the tolerance is wider here.
            and (wrong[i] is None or self._what_is_wrong(i, rival[i]) is not None)
            for i in order
        )


def _arguments(case: Case) -> tuple[list[Any], dict[str, Any]]:
    return list(case.args), case.kwargs


def _result(value: Any) -> Any:
    """Return the result in an answer that may have gradients, too."""
    return value["output"] if isinstance(value, dict) and "gradients" in value else value


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


def _is_telling(answers: Sequence[Answer], wrong: Sequence[Difference | Failure | None]) -> bool:
    """Check that wrong answers say enough to be compared with hundreds of slips, of which one may fit by chance.

    None of them may be missing: a crash is told as a crash. There is no NaN or infinity where a number should be, and
    nothing of another type, nor are the gradients alone wrong: these have many causes. And the answers differ among
    each other: who always says 0 or None has done something else.
    """
    if any(_crashed(answer) for answer in answers):
        return False
    differ = [found for found in wrong if isinstance(found, Difference)]
    if differ and all(found.is_derivative for found in differ):
        return False
    if any(found.kind is Kind.FINITE or (found.kind is Kind.TYPE and found.got is not None) for found in differ):
        return False
    given = [x for answer in answers if not answer.failure for x in _numbers_and_words(answer.value)]
    told = [
        x
        for answer, found in zip(answers, wrong, strict=True)
        if isinstance(found, Difference)
        for x in _numbers_and_words(answer.value)
    ]
    return len(set(given)) > 2 or (len(set(told)) > 1 and len(given) > 7)


def _crashed(answer: Answer) -> bool:
    """Whether there is no answer; what an exercise itself refuses is one."""
    return answer.failure is not None and answer.failure.outcome is not Raised.WRONG_ANSWER


def _numbers_and_words(value: Any) -> list[Any]:
    """Return all numbers and words of an answer, of gradients as well."""
    found: list[Any] = []
    for leaf in calls.leaves(value):
        found += leaf.flatten().tolist() if isinstance(leaf, (torch.Tensor, np.ndarray)) else [leaf]
    return found
