"""Processes that a worker has started: found, measured, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def descendants(root: int) -> list[int]:
    """All living descendants of a process, read from /proc; empty where there is no /proc (macOS)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field is a name in brackets, which may itself contain spaces and brackets.
            state, parent = entry.read_bytes().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found, frontier = [], [root]
    while frontier:
        frontier = [child for pid in frontier for child in children.get(pid, [])]
        found += frontier
    return found


def of_this_user() -> int:
    """How many processes and threads the kernel counts for the user of this process; 4096 where there is no /proc."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == os.getuid():
                total += len(list((entry / "task").iterdir()))
    return total or 4096


def resident(root: int) -> int:
    """Bytes of memory that a process and its descendants occupy; pages that they share count for each."""
    total = 0
    for pid in [root, *descendants(root)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    return total


def end(popen: subprocess.Popen, patience: float = 10.0) -> None:
    """Kill a process, its group and its descendants, and wait until none is left."""
    deadline = time.monotonic() + patience
    while True:
        # Descendants first: as long as their ancestor lives, none can hide by being adopted by another process.
        family = descendants(popen.pid)
        for pid in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not family or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(popen.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(patience)
