"""Code of the notebook's own process, with a time limit: a loop that never ends is told, as in grading."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.inside.outcomes import Failure, Lost

# How long submitted code may take, here and in grading. CPU time counts, since on a busy machine the clock says little.
CALL = 4.0  # CPU seconds for one call or cell
CALL_AFTER_DEATH = 1.0  # the same, once the exercise has run out of time or ended a process
AGAIN = 0.5  # CPU seconds until the next try, if the learner's code has caught the first


class TookTooLong(BaseException):
    """Raised in the code under test at the end of its time; no `except Exception` of a learner catches it."""


class TimedSubject(LocalSubject):
    """A `LocalSubject` whose calls may take as long as in grading.

    Where there is no such clock (Windows, or a thread other than the main one) they may take forever.
    """

    limit = CALL

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do something with an object; see `Subject.send`.

        Raises:
            Failure: If it takes too long.
        """
        limit = self.limit
        try:
            with time_limit(limit):
                return super().send(action, number, args, kwargs)
        except TookTooLong:
            self.limit = CALL_AFTER_DEATH
            raise Failure(Lost.TIMED_OUT, limit=limit) from None


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TookTooLong` in the code inside once this process has computed for so many seconds."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGPROF, stop)
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
