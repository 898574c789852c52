"""Code of the notebook's own process, within limits: a loop that never ends is told, as in grading, or a wait."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import psutil

if sys.platform != "win32":  # which has no such limits
    import resource

from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.inside.outcomes import Failure, Lost

# How long submitted code may take, here and in grading. CPU time counts, since on a busy machine the clock says little.
CALL = 4.0  # CPU seconds for one call or cell
CALL_AFTER_DEATH = 1.0  # the same in grading, once the exercise has run out of time or ended a process
CLOCK = 10.0  # seconds by the clock for all visible checks together: a notebook shall not be silent for longer
GROWTH = 2**30  # bytes of memory that one call may add here
TICK = 0.1  # seconds between two looks at all this
AGAIN = 1.0  # seconds until the next try, if the first was caught


class LimitExceeded(BaseException):
    """Raised in the code under test at a limit; no `except Exception` of a learner catches it."""

    def __init__(self, failure: Failure):
        self.failure = failure


class TimedSubject(LocalSubject):
    """A `LocalSubject` that is stopped at its limits, and not run again after that.

    Where there is no such clock (Windows, or a thread other than the main one) it has none.

    Attributes:
        lost: The limit at which it was stopped, or None.
    """

    def __init__(self, target: Any):
        super().__init__(target)
        self.lost: Failure | None = None
        self._deadline = time.monotonic() + CLOCK

    def send(self, action: str, number: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do something with an object; see `Subject.send`.

        Raises:
            Failure: If it exceeds a limit, or an earlier call did.
        """
        if self.lost:
            raise Failure(Lost.NOT_RUN)
        try:
            with limits(self._deadline):
                return super().send(action, number, args, kwargs)
        except LimitExceeded as stopped:
            self.lost = stopped.failure
        except MemoryError:
            self.lost = Failure(Lost.OUT_OF_MEMORY, limit=GROWTH)
        raise self.lost  # not above, where its context would keep all that the call has in memory


_process = functools.cache(psutil.Process)  # it looks up much when it is made


@contextlib.contextmanager
def limits(deadline: float) -> Iterator[None]:
    """Raise `LimitExceeded` in the code inside if it computes too long, takes too much memory, or passes the deadline.

    It is also raised where the code inside has caught it and come to an end of its own: the learner's code may do so,
    and Python itself does in a callback of the garbage collector.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    process, quiet_until, stopped = _process(os.getpid()), 0.0, None
    cpu, memory = time.process_time(), process.memory_info()

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal quiet_until, stopped
        now = time.monotonic()
        if now < quiet_until:
            return
        failure = None
        if time.process_time() - cpu > CALL:
            failure = Failure(Lost.TIMED_OUT, limit=CALL)
        elif now > deadline:
            failure = Failure(Lost.CHECKS_TIMED_OUT, limit=CLOCK)
        elif process.memory_info().rss - memory.rss > GROWTH:
            failure = Failure(Lost.OUT_OF_MEMORY, limit=GROWTH)
        if failure:
            quiet_until, stopped = now + AGAIN, LimitExceeded(failure)
            raise stopped

    handler = signal.signal(signal.SIGALRM, look)
    timer = signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        with _address_space(memory.vms + GROWTH * 3 // 2):
            yield
    except Exception:
        if stopped:
            raise stopped from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
    if stopped:
        raise stopped


@contextlib.contextmanager
def _address_space(most: int) -> Iterator[None]:
    """Let the process have so many bytes at most, also within a single call of C, in which Python cannot look.

    `list(itertools.combinations(...))` is such a call: it would fill the memory of the machine.
    """
    if sys.platform == "win32":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(ValueError, OSError):  # a system that does not let us
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
