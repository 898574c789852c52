"""One line that moves on a terminal; in a log, one line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

SECONDS_BETWEEN_LOG_LINES = 15


class Progress:
    """`tick` says where the work is; `say` prints a line that stays."""

    def __init__(self, name: str, out: TextIO | None = None):
        self.name, self.out = name, out or sys.stdout
        self.live = self.out.isatty()
        self.began = self.last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def tick(self, text: str) -> None:
        now = time.monotonic()
        if now - self.last < (0.2 if self.live else SECONDS_BETWEEN_LOG_LINES):
            return
        self.last = now
        line = f"{self.name}: {text} [{now - self.began:.0f} s]"
        self.out.write(f"\r\x1b[K{line[:110]}" if self.live else f"{line}\n")
        self.out.flush()

    def say(self, text: str) -> None:
        self._clear()
        self.out.write(f"{self.name}: {text}\n")
        self.out.flush()

    def _clear(self) -> None:
        if self.live:
            self.out.write("\r\x1b[K")
            self.out.flush()
