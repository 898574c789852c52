"""Execution of solved notebooks, two at a time, each in its own kernel."""

from __future__ import annotations

import ast
import asyncio
import copy
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
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
METER = "from course_lib.site import meter as _meter\nprint(_meter.cost())"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Failure:
    """A lab that did not run to its end; `detail` is the traceback."""

    lab: str
    sentence: str
    detail: str


def execute(project: Project, labs: dict[str, NotebookNode], keep: Callable[[str, NotebookNode], None]) -> None:
    """Execute labs, two at a time.

    Args:
        project: The checkout, whose library the labs run with.
        labs: The solved notebooks by name; they are not changed.
        keep: The function called with the name and the executed notebook of each lab that has run to its end.

    Raises:
        SiteError: If some labs did not run to their end; all others have been kept.
    """
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a kernel named python3 in the user's home may be another Python
    n_cells = sum(len(notebook.cells) for notebook in labs.values())
    interval = 0.5 if sys.stderr.isatty() else 15  # seconds between two lines of progress; a log needs few
    with (
        tempfile.TemporaryDirectory(prefix="course-labs-") as scratch,
        tqdm(total=n_cells, desc="labs", unit="cell", mininterval=interval, leave=False) as bar,
    ):
        failures = asyncio.run(_execute_all(project, labs, keep, Path(scratch), bar))
    if failures:
        details = [f"--- {failure.lab}\n{failure.detail}" for failure in failures]
        sentences = [f"labs/{failure.lab}.ipynb: {failure.sentence}" for failure in failures]
        raise SiteError("\n\n".join([*details, "\n".join(sentences)]))


async def _execute_all(
    project: Project, labs: dict[str, NotebookNode], keep: Callable[[str, NotebookNode], None], scratch: Path, bar: tqdm
) -> list[Failure]:
    env, commit = environment(project, scratch), commit_of(project.root)
    two_at_a_time = asyncio.Semaphore(2)
    running = {asyncio.create_task(_execute(lab, labs[lab], two_at_a_time, env, scratch, bar)) for lab in labs}
    failures: list[Failure] = []
    while running:
        ended, running = await asyncio.wait(running, timeout=bar.mininterval)
        bar.refresh()  # for the clock: a cell may take minutes
        for result in [task.result() for task in ended]:
            if isinstance(result, Failure):
                failures.append(result)
                continue
            lab, executed, cost = result
            executed.metadata["course"] = {**cost, "preset": preset(), "commit": commit}
            keep(lab, executed)
            used = f"{cost['cpu_seconds']:.0f} CPU-seconds, {cost['peak_mb']:.0f} MB"
            bar.write(f"labs: {lab} done in {cost['seconds']:.0f} s ({used})")
    return failures


async def _execute(
    lab: str, notebook: NotebookNode, two_at_a_time: asyncio.Semaphore, env: dict[str, str], scratch: Path, bar: tqdm
) -> tuple[str, NotebookNode, dict[str, float]] | Failure:
    """Run one lab; return its name, the notebook with its outputs, and the seconds and memory that it took."""
    notebook = copy.deepcopy(notebook)
    meter = nbformat.v4.new_code_cell(METER)
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT[preset()], record_timing=False)
    manager = client.create_kernel_manager()
    log = scratch / f"{lab}.log"  # what the kernel itself says, beside the outputs of the cells
    async with two_at_a_time:
        began, cell = time.monotonic(), notebook.cells[0]
        try:
            with open(log, "wb") as said:
                await client.async_start_new_kernel(env=env, cwd=str(scratch), stdout=said, stderr=said)
            await client.async_start_new_kernel_client()
            for index, cell in enumerate(notebook.cells):
                bar.set_postfix_str(f"{lab} {index + 1}/{len(notebook.cells)}", refresh=False)
                await client.async_execute_cell(cell, index)
                bar.update()
            notebook.cells.append(meter)
            await client.async_execute_cell(meter, len(notebook.cells) - 1)
        except CellExecutionError as error:
            sentence = f"cell {cell.id} raised {error.ename}: {error.evalue.strip()}"
            return Failure(lab, sentence, ANSI.sub("", error.traceback))
        except (CellTimeoutError, RuntimeError) as error:  # a kernel that died, at its start or later
            sentence = f"its kernel did not get past cell {cell.id}: too slow, or out of memory"
            return Failure(lab, sentence, f"{error}\n{log.read_text(errors='replace')[-4000:]}")
        finally:
            await ensure_async(manager.shutdown_kernel(now=True))
            if client.kc is not None:
                client.kc.stop_channels()
    notebook.cells.pop()
    return lab, notebook, {"seconds": round(time.monotonic() - began, 1), **ast.literal_eval(meter.outputs[0].text)}


def environment(project: Project, scratch: Path) -> dict[str, str]:
    """Return the kernel's environment: strict numbers, one thread, the checkout's library, no user settings."""
    return os.environ | {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "COURSE_STRICT": "1",
        "COURSE_PRESET": preset(),
        "TQDM_DISABLE": "1",  # a progress bar that has ended tells a reader of the page nothing
        "PYTHONPATH": str(project.library.parent),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(scratch / "ipython"),
    }
