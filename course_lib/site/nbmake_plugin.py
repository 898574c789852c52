"""The pytest plugin that goes with nbmake: `pytest --nbmake labs/ch01_heads.ipynb`.

nbmake collects notebooks, executes each in a kernel of its own, and ends a cell that takes too long. This adds what a
lab needs besides: the references in place of the stubs, the kernel's environment, the cell that it is at, what it cost,
and a failure told in a sentence. `course book` runs the same command, on notebooks that it has prepared.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

import pytest
from tqdm import tqdm

from course_lib.checkout import NoCheckout
from course_lib.preset import course_seed
from course_lib.site import cache
from course_lib.site.lab_run import PARENT, LabFolder, LabOutcome, LabRun, code_cells, cost_text
from course_lib.site.paths import Project, find_project

COST = "cost of a lab"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
FOLDER = pytest.StashKey[LabFolder]()
KEEP = pytest.StashKey[tuple[Project, LabRun]]()  # of a lab for which a person asked
CLEAN_UP = pytest.StashKey[ExitStack]()
_terminal: TextIO | None = None  # standard error while pytest captures that of the labs, if a person looks at it


def pytest_addoption(parser: pytest.Parser) -> None:
    """Keep hold of the terminal, before pytest begins to capture what is written to it."""
    global _terminal
    if sys.stderr is not None and sys.stderr.isatty():
        _terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")


def pytest_configure(config: pytest.Config) -> None:
    """Get ready to remove what is written, and to end with the process that these labs are run for."""
    config.stash[CLEAN_UP] = ExitStack()
    if (parent := os.environ.get(PARENT)) and not hasattr(config, "workerinput"):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what was written."""
    config.stash[CLEAN_UP].close()


def _end_with(parent: int) -> None:
    """Wait for the end of the parent, then end this process: its workers end with it, and their kernels with them."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a lab the time that its cells may take, which nbmake limits, and not that of a test."""
    if _is_notebook(item) and item.config.pluginmanager.hasplugin("timeout"):
        item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Let nbmake execute a lab with what it needs; other notebooks are left to nbmake alone."""
    if not _is_notebook(item):
        return (yield)
    folder = LabFolder(item.path.parent)
    if not folder.environment.is_file():  # `course book` has not prepared it
        project = _project_of(item.path)
        if project is None:
            return (yield)
        scratch = item.config.stash[CLEAN_UP].enter_context(tempfile.TemporaryDirectory(prefix="course-labs-"))
        folder = LabFolder(Path(scratch) / item.path.stem)
        run = _solved(project, item.path.stem)
        folder.prepare(project, run, strict=True)
        item.stash[KEEP] = (project, run)
    item.stash[FOLDER] = folder
    with pytest.MonkeyPatch.context() as patch, _progress(item, folder):
        patch.setattr(item, "filename", str(folder.notebook))
        patch.setattr(item.config.option, "overwrite", True)
        for name, value in folder.kernel_environment().items():
            patch.setenv(name, value)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how a lab ended, in its folder and in pytest's report, and keep a run for which a person asked."""
    report = yield
    folder = item.stash.get(FOLDER, None)
    if folder is None or call.when != "call":
        return report
    sentence, detail = None, ""
    if call.excinfo is not None:
        sentence, detail = _failure(call.excinfo.value, folder, report.capstderr)
        report.longrepr = f"{detail}\n{item.path.name}: {sentence}"
    folder.end(LabOutcome(f"nbmake {version('nbmake')}", round(call.duration, 1), sentence, detail))
    if sentence is None and (asked := item.stash.get(KEEP, None)):
        project, run = asked
        executed = folder.executed(project, run)
        cache.store(project, cache.key(project, run.lab, run.notebook, run.seed), executed)
        report.user_properties.append((COST, f"{run} {cost_text(executed)}"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each lab cost for which a person asked."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == COST:
                terminalreporter.write_line(f"labs: {text}")


def _is_notebook(item: pytest.Item) -> bool:
    return getattr(item, "nbmake", False)


def _project_of(notebook: Path) -> Project | None:
    """Return the course that has the notebook among its labs, or None."""
    try:
        project = find_project(notebook.parent)
    except NoCheckout:
        return None
    return project if notebook.parent == project.labs else None


def _solved(project: Project, lab: str) -> LabRun:
    from course_lib.site.build import read_lab, solved_labs  # imports the references, and with them torch

    return LabRun(lab, solved_labs({lab: read_lab(project, lab)})[lab], course_seed())


@contextmanager
def _progress(item: pytest.Item, folder: LabFolder) -> Iterator[None]:
    """Show a person which cell a lab is at; of several labs at a time, pytest says which have ended."""
    if _terminal is None or hasattr(item.config, "workerinput"):
        yield
        return
    cells = len(code_cells(folder.read()))
    with tqdm(total=cells, desc=folder.folder.name, unit="cell", leave=False, file=_terminal) as bar:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                bar.n = folder.cells_begun()
                bar.refresh()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()


def _failure(error: BaseException, folder: LabFolder, kernel_said: str) -> tuple[str, str]:
    """Return why a lab did not come to its end, in a sentence, and the traceback or what the kernel last said."""
    from nbmake.pytest_items import NotebookFailedException  # pytest itself is to import its plugins

    if not isinstance(error, NotebookFailedException):  # the kernel died, at its start or later
        cells = code_cells(folder.read())
        cell = cells[max(0, folder.cells_begun() - 1)]
        return f"its kernel did not get past cell {cell.id}: out of memory?", f"{error}\n{kernel_said[-4000:]}"
    (failed,) = error.args
    cell = failed.nb.cells[failed.error.failing_cell_index]
    raised = next((output for output in cell.get("outputs", ()) if output.output_type == "error"), None)
    # That a cell which had timed out was then interrupted says nothing more; without a kernel, none raised anything.
    if raised is None or failed.error.summary.startswith("A cell timed out"):
        return f"cell {cell.id}: {failed.error.summary}", ANSI.sub("", failed.error.trace)
    return f"cell {cell.id} raised {raised.ename}: {raised.evalue.strip()}", ANSI.sub("", "\n".join(raised.traceback))
