"""Catching Ctrl-C and SIGTERM, so that a run with a folder stops between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stop_requests(caught: bool) -> Iterator[threading.Event]:
    """Yield an event that is set by Ctrl-C or by SIGTERM, which clusters send before they kill a job.

    A second signal interrupts at once.

    Args:
        caught: Whether to catch the two signals. If False, Ctrl-C raises KeyboardInterrupt as always. The same holds
            in any thread but the main one, since only that one can catch signals.
    """
    requested = threading.Event()
    if not caught or threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
