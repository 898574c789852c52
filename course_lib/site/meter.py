"""Runs inside a lab's kernel while the book executes it: which cell is on, CPU seconds and peak memory so far."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def reading() -> dict[str, float]:
    """CPU seconds of this process and its children, peak memory in MB of the larger of the two."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return {
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in usage), 1),
        "peak_mb": round(max(u.ru_maxrss for u in usage) * unit / 1e6),
    }


def start(path: str) -> None:
    """Note every cell of this IPython session in the file `path`; the last note is the lab's measurement."""
    from IPython import get_ipython

    began, cells = time.monotonic(), 0

    def note(*_: object) -> None:
        state = {"cells": cells, "seconds": round(time.monotonic() - began, 1), **reading()}
        part = Path(path + ".part")
        part.write_text(json.dumps(state))
        part.replace(path)

    def before(*_: object) -> None:
        nonlocal cells
        cells += 1
        note()

    shell = get_ipython()
    shell.events.register("pre_run_cell", before)
    shell.events.register("post_run_cell", note)


def read(path: Path) -> dict[str, float]:
    """The last note, or nothing when the kernel never got that far."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
