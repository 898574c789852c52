"""The exams of a later hand-in, which meets hidden cases of its own beside those of everybody's first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Exam, Result
from course_lib.grader.inside.calls import Subject


@dataclass(frozen=True)
class InTurn:
    """The exams of one exercise for a later hand-in: the first of them that an answer does not pass decides.

    The first one is everybody's. So a wrong answer earns the same in each hand-in, whichever cases it meets after that,
    and a table of the first answers meets cases that are not in it.
    """

    exams: tuple[Exam, ...]

    @property
    def exercise(self) -> Exercise:
        """The exercise."""
        return self.exams[0].exercise

    def grade(self, subject: Subject, hide_values: bool = False) -> Result:
        """Run one exam after the other; see `Exam.grade`."""
        for exam in self.exams:
            result = exam.grade(subject, hide_values)
            if not result:
                break
        return result


def later_exams(first: Sequence[Exam], own: Sequence[Exam]) -> list[InTurn]:
    """Return the exams of a later hand-in of a lab.

    Args:
        first: Those of everybody's first hand-in.
        own: Those with hidden cases that only hand-ins of this number meet.
    """
    return [InTurn(pair) for pair in zip(first, own, strict=True)]
