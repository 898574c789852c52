"""Ctrl-C and SIGTERM, caught so that a run which is kept stops between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stop_requests(caught: bool) -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, or SIGTERM, with which clusters announce a kill; a second one interrupts at once.

    Args:
        caught: False leaves both signals as they are, so that Ctrl-C raises KeyboardInterrupt as always. So does a
            thread that is not the main one, which cannot catch signals.
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
