"""The visible cases of an exercise as data: what a student version has in place of the reference and known mistakes.

A file is one message of `inside.frames`: the cases, the right answers, and what known mistakes and slips answer.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_lib.exercises.spec import Case
from course_lib.grader.inside.calls import same
from course_lib.grader.inside.frames import pack, receive
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised
from course_lib.grader.rivals import Rival


def packed(cases: Sequence[Case], expected: Sequence[Any], *rivals: Sequence[Rival]) -> bytes:
    """Return the content of the file.

    Args:
        cases: The visible cases.
        expected: The right answer to each case.
        *rivals: The known mistakes, then the slips.
    """
    different: list[list[Any]] = [[] for _ in cases]  # most slips share most of their answers
    told = [[[r.message, _numbers(r, different)] for r in kind] for kind in rivals]
    return pack([[asdict(case) for case in cases], list(expected), different, *told])


def _numbers(rival: Rival, different: list[list[Any]]) -> list[int]:
    """Return the number of each of its answers in the list of different answers to the case, which grows."""
    numbers = []
    for i, known in enumerate(different):
        answer = rival[i]
        failure = answer.failure
        # Of a failure only what answers are compared by: its text would quote the code.
        why = failure and [str(failure.outcome), failure.type, failure.message]
        written = [answer.value, why, answer.changed]
        found = next((n for n, other in enumerate(known) if same(other, written)), len(known))
        if found == len(known):
            known.append(written)
        numbers.append(found)
    return numbers


def read_stored(path: Path) -> tuple[list[Case], list[Any], list[Rival], list[Rival]]:
    """Read the cases, the right answers, and the answers of known mistakes and of slips, as they were packed."""
    cases, expected, different, mistakes, slips = receive(io.BytesIO(path.read_bytes()).read)
    answers = [[Answer(value, why and _failure(*why), changed) for value, why, changed in known] for known in different]
    read = [Case(**{**case, "args": tuple(case["args"])}) for case in cases]
    return read, expected, _rivals(mistakes, answers), _rivals(slips, answers)


def _rivals(told: list[Any], answers: list[list[Answer]]) -> list[Rival]:
    found = []
    for message, numbers in told:
        own = [known[n] for known, n in zip(answers, numbers, strict=True)]
        found.append(Rival(message, own.__getitem__))
    return found


def _failure(outcome: str, kind: str, message: str) -> Failure:
    known: dict[str, Raised | Lost] = {str(code): code for codes in (Raised, Lost) for code in codes}
    return Failure(known[outcome], kind, message)
