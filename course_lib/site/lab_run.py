"""One run of a lab: the notebook in a folder of its own, what its kernel is told, and what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.checkout import commit_of
from course_lib.errors import CourseError
from course_lib.files import read_json, write_text
from course_lib.preset import RATE_ARM, RATE_FACTOR, preset
from course_lib.site import meter
from course_lib.site.paths import Project

PARENT = "COURSE_NBMAKE_PARENT"  # the process for which pytest runs labs, if it does not run them for a person
# What IPython is told to do in each new kernel. The namespace of the lab stays empty.
KERNEL_CONFIG = """\
c.InteractiveShellApp.exec_lines = ["__import__('runpy').run_path({meter!r}, run_name='__main__');"]
"""


@dataclass(frozen=True)
class LabRun:
    """One run of a lab.

    Attributes:
        lab: The name of the lab.
        notebook: The solved notebook.
        seed: The course seed.
        rate_factor: What the learning rates are multiplied by, in a trial of rates.
        rate_arm: The one arm whose rate is multiplied; None for all.
    """

    lab: str
    notebook: NotebookNode
    seed: int
    rate_factor: float | None = None
    rate_arm: str | None = None

    def __str__(self) -> str:
        of = "its rates" if self.rate_arm is None else f"the rate of {self.rate_arm!r}"
        at_rates = "" if self.rate_factor is None else f" at {self.rate_factor:g} times {of}"
        return self.lab + (f" on seed {self.seed}" if self.seed else "") + at_rates


@dataclass(frozen=True)
class LabOutcome:
    """How a run ended.

    Attributes:
        executed_by: The plugin that executed the notebook, with its version: "nbmake 1.5.5".
        seconds: The time from the start of the kernel to its end.
        sentence: Why the run did not come to its end; None if it did.
        detail: The traceback, or what the kernel last said.
    """

    executed_by: str
    seconds: float
    sentence: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class LabFolder:
    """The folder that a lab runs in, and may write files into.

    Attributes:
        folder: The folder; the files of a run have its name.
    """

    folder: Path

    @property
    def notebook(self) -> Path:
        """The notebook, which is overwritten by the executed one."""
        return self.folder / f"{self.folder.name}.ipynb"

    @property
    def environment(self) -> Path:
        """The environment variables of the kernel."""
        return self.folder.with_suffix(".environment.json")

    @property
    def meter(self) -> Path:
        """The cell that the kernel is at, and the cost so far."""
        return self.folder.with_suffix(".meter.json")

    @property
    def outcome(self) -> Path:
        """How the run ended."""
        return self.folder.with_suffix(".outcome.json")

    def prepare(self, project: Project, run: LabRun, strict: bool) -> None:
        """Write the notebook and what its kernel is told: strict numbers, one thread, no setting of the user."""
        self.folder.mkdir(parents=True)
        nbformat.write(run.notebook, self.notebook)
        ipython = self.folder.with_suffix(".ipython")
        config = ipython / "profile_default" / "ipython_kernel_config.py"
        config.parent.mkdir(parents=True)
        config.write_text(KERNEL_CONFIG.format(meter=meter.__file__))
        variables = {
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
            "COURSE_STRICT": str(int(strict)),
            "COURSE_PRESET": preset(),
            "COURSE_SEED": str(run.seed),
            "TQDM_DISABLE": "1",  # a progress bar that has ended tells a reader of the page nothing
            "PYTHONPATH": str(project.library.parent),
            "PYTHONHASHSEED": "0",
            "IPYTHONDIR": str(ipython),
            "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel named python3 in the user's home may be another Python
            meter.FILE: str(self.meter),
        }
        if run.rate_factor is not None:
            variables[RATE_FACTOR] = str(run.rate_factor)
        if run.rate_arm is not None:
            variables[RATE_ARM] = run.rate_arm
        write_text(self.environment, json.dumps(variables))

    def kernel_environment(self) -> dict[str, str]:
        """Return the environment variables that the kernel has besides those of its parent."""
        return read_json(self.environment)

    def read(self) -> NotebookNode:
        """Read the notebook."""
        return nbformat.read(self.notebook, as_version=4)

    def cells_begun(self) -> int:
        """Return how many cells the kernel has begun to run."""
        return int(self._measured().get("begun", 0))

    def _measured(self) -> dict[str, float]:
        try:
            return read_json(self.meter)
        except CourseError:  # the kernel has not started yet
            return {}

    def end(self, outcome: LabOutcome) -> None:
        """Write how the run ended."""
        write_text(self.outcome, json.dumps(asdict(outcome)))

    def ended(self) -> LabOutcome | None:
        """Return how the run ended, or None while it goes on."""
        return LabOutcome(**read_json(self.outcome)) if self.outcome.is_file() else None

    def executed(self, project: Project, run: LabRun) -> NotebookNode:
        """Read the notebook of a run that came to its end, with its cost and where it is from in its metadata."""
        outcome, notebook = self.ended(), self.read()
        assert outcome is not None
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # the times of each cell, which would differ from run to run
        cost = {name: value for name, value in self._measured().items() if name != "begun"}
        notebook.metadata["course"] = {
            "seconds": outcome.seconds,
            **cost,
            "preset": preset(),
            "seed": run.seed,
            "commit": commit_of(project.root),
            "executed_by": outcome.executed_by,
        }
        return notebook


def cost_text(executed: NotebookNode) -> str:
    """Say what a run took."""
    cost = executed.metadata["course"]
    return f"done in {cost['seconds']:.0f} s ({cost['cpu_seconds']:.0f} CPU-seconds, {cost['peak_mb']:.0f} MB)"


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that a kernel runs."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
