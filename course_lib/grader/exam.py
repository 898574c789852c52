"""Putting an exercise's cases to code under test: what came back, what is right, which mistake it looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from course_lib.exercises.spec import Case, Exercise, Subject
from course_lib.grader.answer import Answer, ask, right_answer
from course_lib.grader.compare import compare
from course_lib.grader.diagnose import Changed, Wrong, explain
from course_lib.grader.inside import calls
from course_lib.grader.inside.outcomes import Outcome

VISIBLE_SEED = 0


@dataclass(frozen=True)
class Verdict:
    """How a subject did; true when every case passed.

    Attributes:
        exercise: The exercise.
        cases: Its cases.
        passed: For each case, whether the answer was right.
        started: False while the stub raises NotImplementedError.
        mistake: The message of the known mistake, if it is one.
        diagnosis: What is wrong with the first wrong answer.
    """

    exercise: Exercise
    cases: list[Case]
    passed: list[bool]
    started: bool = True
    mistake: str | None = None
    diagnosis: str | None = None

    def __bool__(self) -> bool:
        return all(self.passed)


class Exam:
    """The cases of an exercise for one seed, with the right answers and the answers of each known mistake.

    Not to be made in two threads at once: the reference runs under another default dtype and seeded generators.

    Attributes:
        exercise: The exercise.
        cases: Its cases.
        expected: The right answer to each.
    """

    def __init__(self, exercise: Exercise, seed: int = VISIBLE_SEED):
        self.exercise = exercise
        self.cases = exercise.cases(torch.Generator().manual_seed(seed))
        self.expected = [right_answer(exercise, case) for case in self.cases]
        self._rivals: list[list[Answer]] | None = None

    @property
    def rivals(self) -> list[list[Answer]]:
        """For each known mistake, its answer to each case; made when first needed."""
        if self._rivals is None:
            wrong = [calls.LocalSubject(mistake.solution) for mistake in self.exercise.mistakes]
            self._rivals = [[ask(self.exercise, subject, case) for case in self.cases] for subject in wrong]
        return self._rivals

    def mark(self, subject: Subject, hide_values: bool = False) -> Verdict:
        """Ask every case, and the first one again at the end.

        Args:
            subject: The code under test.
            hide_values: Leave the numbers of the cases out of the diagnosis.
        """
        exercise, cases = self.exercise, self.cases
        answers: list[Answer] = []
        for case in cases:
            answers.append(ask(exercise, subject, case))
            if (failure := answers[0].failure) and failure.outcome is Outcome.NOT_STARTED:
                return Verdict(exercise, cases, [False] * len(cases), started=False)
        wrong = [self._what_is_wrong(i, answer) for i, answer in enumerate(answers)]
        # The same question at the end must give the same answer: a result may depend on the arguments only.
        steady = self._steady(0, answers[0], ask(exercise, subject, cases[0]))
        passed = [found is None for found in wrong]
        passed[0] = passed[0] and steady
        if all(passed):
            return Verdict(exercise, cases, passed)
        first = passed.index(False)
        if first > 0:
            steady = self._steady(first, answers[first], ask(exercise, subject, cases[first]))
        diagnosis = explain(exercise, cases[first], answers[first], wrong[first], steady, hide_values)
        return Verdict(exercise, cases, passed, mistake=self._recognise(answers, passed), diagnosis=diagnosis)

    def _what_is_wrong(self, i: int, answer: Answer) -> Wrong | None:
        if answer.failure:
            return answer.failure
        found = compare(self.expected[i], answer.value, *self._tolerances(i))
        return found or (None if answer.changed is None else Changed(answer.changed))

    def _steady(self, i: int, before: Answer, again: Answer) -> bool:
        """Whether two answers to case i are one, but for rounding: threads may add in another order."""
        if before.failure or again.failure:
            return before.failure == again.failure
        return compare(before.value, again.value, *self._tolerances(i), equal_nan=True) is None

    def _tolerances(self, i: int) -> tuple[float, float]:
        case, exercise = self.cases[i], self.exercise
        return (
            exercise.rtol if case.rtol is None else case.rtol,
            exercise.atol if case.atol is None else case.atol,
        )

    def _recognise(self, answers: list[Answer], passed: list[bool]) -> str | None:
        """The known mistake whose answers these are: in all the wrong cases, or else in the first wrong one."""
        wrong = [i for i, ok in enumerate(passed) if not ok]
        best, message = (0, 0), None
        for mistake, rival in zip(self.exercise.mistakes, self.rivals, strict=True):
            alike = [_alike(self.exercise, c, a, b) for c, a, b in zip(self.cases, answers, rival, strict=True)]
            # Where the mistake is right itself, an answer close to it says nothing.
            alike = [a and (passed[i] or self._what_is_wrong(i, rival[i]) is not None) for i, a in enumerate(alike)]
            if all(alike[i] for i in wrong):
                score = (2, sum(alike))
            elif alike[wrong[0]] and _telling(answers[wrong[0]].value):
                score = (1, sum(alike))
            else:
                continue
            if score > best:
                best, message = score, mistake.message
        return message


def _alike(exercise: Exercise, case: Case, a: Answer, b: Answer) -> bool:
    if a.failure and b.failure:
        return (a.failure.type, a.failure.message) == (b.failure.type, b.failure.message)
    if a.failure or b.failure:
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
