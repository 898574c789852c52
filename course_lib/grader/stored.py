"""The visible cases of an exercise as data: what a student version has in place of the reference and known mistakes.

A file is one message of `inside.frames`: the cases, the right answers, and what each known mistake answers.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_lib.exercises.spec import Case
from course_lib.grader.inside.frames import pack, receive
from course_lib.grader.inside.outcomes import Answer, Failure, Lost, Raised


def packed(
    cases: Sequence[Case], expected: Sequence[Any], messages: Sequence[str], rivals: Sequence[Sequence[Answer]]
) -> bytes:
    """Return the content of the file.

    Args:
        cases: The visible cases.
        expected: The right answer to each case.
        messages: The message of each known mistake.
        rivals: The answers to all cases, for each known mistake.
    """
    # Of a failure only what answers are compared by: its text would quote the code.
    answers = [
        [[a.value, a.failure and [str(a.failure.outcome), a.failure.type, a.failure.message], a.changed] for a in rival]
        for rival in rivals
    ]
    return pack([[asdict(case) for case in cases], list(expected), list(messages), answers])


def read_stored(path: Path) -> tuple[list[Case], list[Any], list[str], list[list[Answer]]]:
    """Read the cases, the right answers, and the messages and answers of known mistakes, as they were packed."""
    cases, expected, messages, rivals = receive(io.BytesIO(path.read_bytes()).read)
    answers = [
        [Answer(value, failure and _failure(*failure), changed) for value, failure, changed in r] for r in rivals
    ]
    return [Case(**{**case, "args": tuple(case["args"])}) for case in cases], expected, messages, answers


def _failure(outcome: str, kind: str, message: str) -> Failure:
    known: dict[str, Raised | Lost] = {str(code): code for codes in (Raised, Lost) for code in codes}
    return Failure(known[outcome], kind, message)
