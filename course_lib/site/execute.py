"""Execution of solved notebooks, some at a time, each in its own kernel."""

from __future__ import annotations

import ast
import asyncio
import copy
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbclient.util import ensure_async
from nbformat import NotebookNode
from tqdm import tqdm

from course_lib.checkout import commit_of
from course_lib.preset import preset
from course_lib.site.paths import Project, SiteError

# Seconds that one cell may take. A lab is designed for 120 CPU-seconds, so this only ends a cell that hangs.
CELL_TIMEOUT = {"cpu": 1800, "gpu": 12 * 3600}
MEMORY = 1.5 * 2**30  # bytes that a lab may take in the cpu preset
METER = "from course_lib.site import meter as _meter\nprint(_meter.cost())"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class LabRun:
    """One run of a lab.

    Attributes:
        lab: The name of the lab.
        notebook: The solved notebook.
        seed: The course seed.
    """

    lab: str
    notebook: NotebookNode
    seed: int

    def __str__(self) -> str:
        return self.lab + (f" on seed {self.seed}" if self.seed else "")


@dataclass(frozen=True)
class LabFailure:
    """A run that did not come to its end; `detail` is the traceback."""

    run: LabRun
    sentence: str
    detail: str

    def __str__(self) -> str:
        seed = f", seed {self.run.seed}" if self.run.seed else ""
        return f"labs/{self.run.lab}.ipynb{seed}: {self.sentence}"


Keep = Callable[[LabRun, NotebookNode], None]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room_for() -> int:
    """Return how many labs run at a time: one on each core, as far as the free memory holds them."""
    if preset() == "gpu":
        return 1  # they would share the accelerator, and its memory
    return max(1, min(cores(), int(psutil.virtual_memory().available / MEMORY)))


def execute(project: Project, runs: Sequence[LabRun], keep: Keep, jobs: int | None = None, strict: bool = True) -> None:
    """Execute labs, some at a time.

    Args:
        project: The checkout, whose library the labs run with.
        runs: What to run, in this order; the notebooks are not changed.
        keep: The function called with each run that came to its end, and its executed notebook.
        jobs: The number of runs at a time; None for as many as there is room for.
        strict: Whether a number out of its band ends a run.

    Raises:
        SiteError: If some runs did not come to their end; all others have been kept.
    """
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a kernel named python3 in the user's home may be another Python
    n_cells = sum(len(run.notebook.cells) for run in runs)
    interval = 0.5 if sys.stderr.isatty() else 15  # seconds between two lines of progress; a log needs few
    with (
        tempfile.TemporaryDirectory(prefix="course-labs-") as scratch,
        # The time left is that of all cells so far: some take a minute, most take none.
        tqdm(total=n_cells, desc="labs", unit="cell", mininterval=interval, smoothing=0, leave=False) as bar,
    ):
        failures = asyncio.run(_execute_all(project, runs, keep, jobs or room_for(), strict, Path(scratch), bar))
    if failures:
        details = [f"--- {failure.run}\n{failure.detail}" for failure in failures]
        raise SiteError("\n\n".join([*details, "\n".join(map(str, failures))]))


async def _execute_all(
    project: Project, runs: Sequence[LabRun], keep: Keep, jobs: int, strict: bool, scratch: Path, bar: tqdm
) -> list[LabFailure]:
    env, commit = environment(project, scratch, strict), commit_of(project.root)
    places = asyncio.Semaphore(jobs)
    running = {asyncio.create_task(_execute(run, places, env, scratch, bar)) for run in runs}
    failures: list[LabFailure] = []
    while running:
        ended, running = await asyncio.wait(running, timeout=bar.mininterval, return_when=asyncio.FIRST_COMPLETED)
        bar.refresh()  # for the clock: a cell may take minutes
        for result in [task.result() for task in ended]:
            if isinstance(result, LabFailure):
                bar.write(f"labs: {result.run} failed: {result.sentence}")
                failures.append(result)
                continue
            run, executed, cost = result
            executed.metadata["course"] = {**cost, "preset": preset(), "seed": run.seed, "commit": commit}
            keep(run, executed)
            used = f"{cost['cpu_seconds']:.0f} CPU-seconds, {cost['peak_mb']:.0f} MB"
            bar.write(f"labs: {run} done in {cost['seconds']:.0f} s ({used})")
    return failures


async def _execute(
    run: LabRun, places: asyncio.Semaphore, env: dict[str, str], scratch: Path, bar: tqdm
) -> tuple[LabRun, NotebookNode, dict[str, float]] | LabFailure:
    """Run one lab; return the run, the notebook with its outputs, and the seconds and memory that it took."""
    async with places:
        notebook = copy.deepcopy(run.notebook)
        meter = nbformat.v4.new_code_cell(METER)
        client = NotebookClient(notebook, timeout=CELL_TIMEOUT[preset()], record_timing=False)
        manager = client.create_kernel_manager()
        folder = scratch / f"{run.lab}-{run.seed}"  # a lab may write files
        folder.mkdir()
        log = folder.with_suffix(".log")  # what the kernel itself says, beside the outputs of the cells
        env = {**env, "COURSE_SEED": str(run.seed)}
        began, cell = time.monotonic(), notebook.cells[0]
        try:
            with open(log, "wb") as said:
                await client.async_start_new_kernel(env=env, cwd=str(folder), stdout=said, stderr=said)
            await client.async_start_new_kernel_client()
            for index, cell in enumerate(notebook.cells):
                bar.set_postfix_str(f"{run} {index + 1}/{len(notebook.cells)}", refresh=False)
                await client.async_execute_cell(cell, index)
                bar.update()
            notebook.cells.append(meter)
            await client.async_execute_cell(meter, len(notebook.cells) - 1)
        except CellExecutionError as error:
            sentence = f"cell {cell.id} raised {error.ename}: {error.evalue.strip()}"
            return LabFailure(run, sentence, ANSI.sub("", error.traceback))
        except (CellTimeoutError, RuntimeError) as error:  # a kernel that died, at its start or later
            sentence = f"its kernel did not get past cell {cell.id}: too slow, or out of memory"
            return LabFailure(run, sentence, f"{error}\n{log.read_text(errors='replace')[-4000:]}")
        finally:
            await ensure_async(manager.shutdown_kernel(now=True))
            if client.kc is not None:
                client.kc.stop_channels()
    notebook.cells.pop()
    return run, notebook, {"seconds": round(time.monotonic() - began, 1), **ast.literal_eval(meter.outputs[0].text)}


def environment(project: Project, scratch: Path, strict: bool) -> dict[str, str]:
    """Return the kernel's environment: strict numbers, one thread, the checkout's library, no user settings."""
    return os.environ | {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "COURSE_STRICT": str(int(strict)),
        "COURSE_PRESET": preset(),
        "TQDM_DISABLE": "1",  # a progress bar that has ended tells a reader of the page nothing
        "PYTHONPATH": str(project.library.parent),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(scratch / "ipython"),
    }
