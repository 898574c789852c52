"""Run solved notebooks with nbmake, two at a time, and say all the while where each one is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.site import meter
from course_lib.site.cache import preset
from course_lib.site.paths import Project
from course_lib.site.progress import Progress

METER_CELL = "course-meter"
# Seconds that one cell may take. A lab is designed for 120 CPU-seconds, so this only ends a cell that hangs.
CELL_TIMEOUT = {"cpu": 1800, "gpu": 12 * 3600}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Failure:
    """A lab that did not run to its end. `detail` is the traceback, for whoever repairs it."""

    lab: str
    sentence: str
    detail: str = ""


def environment(project: Project, scratch: Path) -> dict[str, str]:
    """The kernel's environment: strict numbers, one thread, the checkout's library, no setting of the user's own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    env.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    env.update(
        COURSE_STRICT="1",
        COURSE_PRESET=preset(),
        TQDM_DISABLE="1",  # a progress bar that has ended tells a reader of the page nothing
        PYTHONPATH=str(project.library.parent),
        PYTHONHASHSEED="0",
        IPYTHONDIR=str(scratch / "ipython"),
        JUPYTER_PREFER_ENV_PATH="1",  # a kernel named python3 in the user's home may be another Python
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    return env


def execute(
    project: Project, labs: dict[str, NotebookNode], keep: Callable[[str, NotebookNode], None]
) -> list[Failure]:
    """Execute each lab; call `keep(lab, executed)` as soon as one has passed; return those that did not."""
    # nbmake collects nothing below a folder called _build, so the notebooks run in a temporary one.
    with tempfile.TemporaryDirectory(prefix="course-labs-") as name:
        scratch = Path(name)
        for lab, notebook in labs.items():
            cell = nbformat.v4.new_code_cell(
                f"from course_lib.site import meter as _meter\n_meter.start({str(scratch / lab)!r})", id=METER_CELL
            )
            notebook = nbformat.v4.new_notebook(cells=[cell, *notebook.cells], metadata=notebook.metadata)
            nbformat.write(notebook, scratch / f"{lab}.ipynb")
        commit = project.commit()
        log = scratch / "nbmake.txt"
        waiting = set(labs)
        with _nbmake(project, scratch, list(labs), log) as process, Progress("labs") as progress:
            while True:
                ended = process.poll() is not None
                for lab in sorted(waiting):
                    if executed := _passed(scratch, lab):
                        waiting.remove(lab)
                        measured = {**meter.read(scratch / lab), "preset": preset(), "commit": commit}
                        executed.metadata["course"] = measured
                        keep(lab, executed)
                        progress.say(
                            f"{lab} done in {measured.get('seconds', 0):.0f} s "
                            f"({measured.get('cpu_seconds', 0):.0f} CPU-seconds, {measured.get('peak_mb', 0):.0f} MB)"
                        )
                if ended:
                    break
                progress.tick(_where(scratch, labs, waiting))
                time.sleep(0.2)
        return [_failure(scratch, lab, log) for lab in sorted(waiting)]


class _nbmake:
    """The pytest process that runs the notebooks; leaving the block ends it and its workers."""

    def __init__(self, project: Project, scratch: Path, labs: list[str], log: Path):
        (scratch / "pytest.ini").write_text("[pytest]\n")  # not the project's own settings
        command = [sys.executable, "-m", "pytest", "-c", str(scratch / "pytest.ini"), "--rootdir", str(scratch)]
        command += ["-p", "no:cacheprovider", "-p", "nbmake", "-p", "xdist", "-n", str(min(2, len(labs)))]
        command += ["--nbmake", "--overwrite", f"--nbmake-timeout={CELL_TIMEOUT[preset()]}", "-q"]
        self.command = [*command, *(f"{lab}.ipynb" for lab in labs)]
        self.cwd, self.env, self.log = scratch, environment(project, scratch), log

    def __enter__(self) -> subprocess.Popen:
        # A build that is told to stop (by `timeout`, by CI) has to unwind, or the kernels would go on without it.
        self.earlier = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) if _in_main_thread() else None
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.env, stdout=out, stderr=out, start_new_session=True
            )
        return self.process

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)  # kernels watch their parent and end with it
            self.process.wait()
        if self.earlier is not None:
            signal.signal(signal.SIGTERM, self.earlier)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _passed(scratch: Path, lab: str) -> NotebookNode | None:
    """The executed notebook once nbmake has written it back without an error; None before that."""
    try:
        notebook = nbformat.read(scratch / f"{lab}.ipynb", as_version=4)
    except (OSError, nbformat.reader.NotJSONError):
        return None  # half written: look again
    code = _code_cells(notebook)
    if any("shell.execute_reply" not in cell.metadata.get("execution", {}) for cell in code) or _error(notebook):
        return None
    for cell in code:
        cell.metadata.pop("execution", None)
    notebook.cells = [cell for cell in notebook.cells if cell.id != METER_CELL]
    return notebook


def _code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _error(notebook: NotebookNode) -> tuple[NotebookNode, NotebookNode] | None:
    """The first cell that raised, and its error output."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return cell, output
    return None


def _where(scratch: Path, labs: dict[str, NotebookNode], waiting: set[str]) -> str:
    """One line such as `ch01_heads cell 12 of 40, 31 s; 1 waiting`."""
    running = []
    for lab in sorted(waiting):
        if state := meter.read(scratch / lab):
            cells = len(_code_cells(labs[lab]))
            seconds = time.time() - (scratch / lab).stat().st_mtime + state["seconds"]
            running.append(f"{lab} cell {state['cells']} of {cells}, {seconds:.0f} s")
    others = len(waiting) - len(running)
    return "; ".join(running + ([f"{others} waiting"] if others else [])) or "finishing"


def _failure(scratch: Path, lab: str, log: Path) -> Failure:
    """Why a lab did not pass, in a sentence that names the cell."""
    try:
        notebook = nbformat.read(scratch / f"{lab}.ipynb", as_version=4)
    except nbformat.reader.NotJSONError:
        notebook = nbformat.v4.new_notebook()
    if found := _error(notebook):
        cell, output = found
        sentence = f"labs/{lab}.ipynb: cell {cell.id} raised {output.ename}: {output.evalue.strip()}"
        return Failure(lab, sentence, ANSI.sub("", "\n".join(output.traceback)))
    code = _code_cells(notebook)
    number = int(meter.read(scratch / lab).get("cells", 0))
    cell_id = code[number].id if number < len(code) else "unknown"  # the meter's own cell is code[0]
    sentence = f"labs/{lab}.ipynb: its kernel did not get past cell {cell_id}: too slow, or out of memory"
    return Failure(lab, sentence, ANSI.sub("", log.read_text(errors="replace"))[-4000:])
