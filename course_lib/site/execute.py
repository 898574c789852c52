"""Execution of solved notebooks by nbmake, some at a time, with their progress."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from nbformat import NotebookNode
from tqdm import tqdm

import course_lib
from course_lib.preset import preset
from course_lib.site.lab_run import PARENT, LabFolder, LabOutcome, LabRun, code_cells, cost_text
from course_lib.site.paths import Project, SiteError

# Seconds that one cell may take. A lab is designed for 120 CPU-seconds, so this only ends a cell that hangs.
CELL_TIMEOUT = {"cpu": 1800, "gpu": 12 * 3600}
MEMORY = 1.5 * 2**30  # bytes that a lab may take in the cpu preset
# Ours comes first: `course_lib.site` makes the import of nbformat two seconds shorter, which nbmake needs too.
PLUGINS = ("course_lib.site.nbmake_plugin", "nbmake", "xdist", "no:cacheprovider")


@dataclass(frozen=True)
class LabFailure:
    """A run that did not come to its end."""

    run: LabRun
    outcome: LabOutcome

    def __str__(self) -> str:
        seed = f", seed {self.run.seed}" if self.run.seed else ""
        return f"labs/{self.run.lab}.ipynb{seed}: {self.outcome.sentence}"


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
    with tempfile.TemporaryDirectory(prefix="course-labs-") as scratch:
        waiting = {LabFolder(Path(scratch) / f"{run.lab}-{i}"): run for i, run in enumerate(runs)}
        for folder, run in waiting.items():
            folder.prepare(project, run, strict)
        log = Path(scratch) / "nbmake.log"
        with _nbmake([folder.notebook for folder in waiting], log, jobs or room_for()) as process:
            failures = list(_watched(process, log, project, waiting, keep))
    if failures:
        details = [f"--- {failure.run}\n{failure.outcome.detail}" for failure in failures]
        raise SiteError("\n\n".join([*details, "\n".join(map(str, failures))]))


@contextmanager
def _nbmake(notebooks: Sequence[Path], log: Path, jobs: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process in which nbmake executes notebooks; it is ended when the block is left."""
    settings = log.with_name("pytest.ini")  # nothing of a user's own, nor of the checkout's tests
    settings.write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-c", str(settings), "--rootdir", str(log.parent), "-q", "--color=no"]
    command += ["--disable-plugin-autoload", *(option for plugin in PLUGINS for option in ("-p", plugin))]
    command += ["--nbmake", f"--nbmake-timeout={CELL_TIMEOUT[preset()]}"]
    command += ["-n", str(jobs), "--maxschedchunk=1", *map(str, notebooks)]  # one ends, the next in the list begins
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    library = Path(course_lib.__file__).resolve().parent.parent
    path = [str(library), *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(path)}
    with open(log, "wb") as said:
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End nbmake, its workers and their kernels, and wait: one that still runs writes where the caller cleans up."""
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)  # in a container, the dead may never be reaped
        process.wait()


def _watched(
    process: subprocess.Popen[bytes], log: Path, project: Project, waiting: dict[LabFolder, LabRun], keep: Keep
) -> Iterator[LabFailure]:
    """Show the progress of runs until all have ended, keep those that came to their end, and yield the others."""
    cells = {folder: len(code_cells(run.notebook)) for folder, run in waiting.items()}
    interval = 0.5 if sys.stderr.isatty() else 15  # seconds between two lines of progress; a log needs few
    waiting = dict(waiting)
    # The time left is that of all cells so far: some take a minute, most take none.
    with tqdm(
        total=sum(cells.values()), desc="labs", unit="cell", mininterval=interval, smoothing=0, leave=False
    ) as bar:
        while waiting:
            alive = process.poll() is None  # before the look at the outcomes: it may write one and end
            for folder, run in list(waiting.items()):
                outcome = folder.ended()
                if outcome is None and alive:
                    continue
                if outcome is None:
                    outcome = LabOutcome("", 0.0, "nbmake did not execute it", log.read_text(errors="replace")[-4000:])
                del waiting[folder]
                if outcome.sentence is None:
                    executed = folder.executed(project, run)
                    keep(run, executed)
                    bar.write(f"labs: {run} {cost_text(executed)}")
                else:
                    bar.write(f"labs: {run} failed: {outcome.sentence}")
                    yield LabFailure(run, outcome)
            begun = {folder: folder.cells_begun() for folder in waiting}
            at = [f"{waiting[folder]} {n}/{cells[folder]}" for folder, n in begun.items() if n]
            bar.set_postfix_str(", ".join(at), refresh=False)
            bar.update(sum(cells.values()) - sum(cells[f] for f in waiting) + sum(begun.values()) - bar.n)
            if waiting:
                time.sleep(0.2)
