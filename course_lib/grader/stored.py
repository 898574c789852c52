"""The visible cases of an exercise as data: what a student version has in place of the reference and known mistakes.

A file is one message of `inside.frames`: the cases, the right answers, and what known mistakes and slips answer.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.exercises.spec import Case
from course_lib.grader.inside.frames import pack, receive
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised
from course_lib.grader.rivals import Rival

if TYPE_CHECKING:
    from course_lib.grader.exam import Exam


def packed(exam: Exam) -> bytes:
    """Return the content of the file for the visible cases of an exercise."""
    numbers = range(len(exam.cases))
    told = [[_told(rival, numbers) for rival in rivals] for rivals in (exam.mistakes, exam.told_apart())]
    return pack([[asdict(case) for case in exam.cases], exam.expected, *told])


def _told(rival: Rival, numbers: Iterable[int]) -> list[Any]:
    # Of a failure only what answers are compared by: its text would quote the code.
    answers = [rival[i] for i in numbers]
    return [
        rival.message,
        [
            [a.value, a.failure and [str(a.failure.outcome), a.failure.type, a.failure.message], a.changed]
            for a in answers
        ],
    ]


def read_stored(path: Path) -> tuple[list[Case], list[Any], list[Rival], list[Rival]]:
    """Read the cases, the right answers, and the answers of known mistakes and of slips, as they were packed."""
    cases, expected, mistakes, slips = receive(io.BytesIO(path.read_bytes()).read)
    return [Case(**{**case, "args": tuple(case["args"])}) for case in cases], expected, *map(_rivals, (mistakes, slips))


def _rivals(packed: list[Any]) -> list[Rival]:
    found = []
    for message, told in packed:
        answers = [Answer(value, failure and _failure(*failure), changed) for value, failure, changed in told]
        found.append(Rival(message, answers.__getitem__))
    return found


def _failure(outcome: str, kind: str, message: str) -> Failure:
    known: dict[str, Raised | Lost] = {str(code): code for codes in (Raised, Lost) for code in codes}
    return Failure(known[outcome], kind, message)
