"""Wrong solutions and what they answer: the known mistakes of an exercise, and the slips that are possible in any."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

from course_lib.grader.inside.outcomes import Answer

_computing = threading.Lock()  # our own solutions run under seeds, which all threads share


class Rival:
    """The answers that a wrong solution gives to the cases of an exam, each computed when it is first asked for.

    Attributes:
        message: What a learner is told whose answers are the same.
    """

    def __init__(self, message: str, answer: Callable[[int], Answer]):
        self.message, self._answer = message, answer
        self._known: dict[int, Answer] = {}

    def __getitem__(self, i: int) -> Answer:
        with _computing:
            if i not in self._known:
                with warnings.catch_warnings(action="ignore"):  # about what a slip does to its numbers
                    self._known[i] = self._answer(i)
            return self._known[i]
