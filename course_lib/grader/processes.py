"""Finding, measuring and ending the processes that a worker has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

import psutil

# What psutil raises if a process ends during the call, belongs to another user, or /proc is empty.
_OUT_OF_SIGHT = (psutil.Error, OSError, IndexError)


def descendants(root: int) -> list[psutil.Process]:
    """List all living descendants of a process.

    Args:
        root: The process id of the ancestor.

    Returns:
        The descendants; none if the ancestor is gone.
    """
    found = []
    with contextlib.suppress(*_OUT_OF_SIGHT):
        for process in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(*_OUT_OF_SIGHT):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return found


def threads_of_this_user() -> int:
    """Count the processes and threads of this user, which the kernel counts against its limit."""
    total = 0
    with contextlib.suppress(*_OUT_OF_SIGHT):
        for process in psutil.process_iter(["uids", "num_threads"]):  # None for what cannot be read of a process
            if process.info["uids"] and process.info["uids"].real == os.getuid():
                total += process.info["num_threads"] or 0
    return total or 4096  # a generous guess if nothing can be read


def usage(root: int) -> tuple[int, float]:
    """Return the bytes of memory and the CPU seconds that a process and its descendants use.

    Shared pages count for each process. Descendants that have ended count with the CPU time that their parents know.
    """
    memory, cpu = 0, 0.0
    with contextlib.suppress(*_OUT_OF_SIGHT):
        for process in [psutil.Process(root), *descendants(root)]:
            with contextlib.suppress(*_OUT_OF_SIGHT):
                memory += process.memory_info().rss
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
    return memory, cpu


def end(popen: subprocess.Popen, patience: float = 10.0) -> None:
    """Kill a process, its group and its descendants, and wait until none is left.

    Args:
        popen: The process, started in a group of its own.
        patience: The longest wait, in seconds, for the descendants and then for the process itself.
    """
    deadline = time.monotonic() + patience
    # Descendants first: as long as their ancestor lives, none can escape by being adopted by another process.
    while family := descendants(popen.pid):
        for process in family:
            with contextlib.suppress(*_OUT_OF_SIGHT):
                process.kill()
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(popen.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(patience)
