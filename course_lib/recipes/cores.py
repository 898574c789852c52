"""Independent tasks on all cores of the machine, for sweeps of many small models."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import psutil
import torch

Task = TypeVar("Task")
Found = TypeVar("Found")


@contextmanager
def on_all_cores(
    function: Callable[[Task], Found], tasks: Iterable[Task], n_processes: int | None = None
) -> Iterator[Iterator[Found]]:
    """Run independent tasks in parallel, each in a process with one thread, and yield their results in order.

    On leaving, tasks that have not begun are dropped.

    Args:
        function: Runs a task; a function of a module, or a `functools.partial` of one.
        tasks: The argument of each call.
        n_processes: The number of processes; None for one on each core. With 1, no other process is started.
    """
    if n_processes is None:
        n_processes = psutil.cpu_count() or 1
    if n_processes == 1:
        yield map(function, tasks)
        return
    pool = ProcessPoolExecutor(n_processes, get_context("spawn"), _begin_process)
    try:
        yield pool.map(function, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is told as well, and ends the others
    torch.set_num_threads(1)
