"""`course export nbgrader` and `course export otter`: the exercises of a lab as these tools' source notebooks.

Both tools run all cells of a notebook when they grade it, so only the exercises go there, without the experiments
between them. Their test of an exercise is its visible check, run beside the submitted code: they have no sandbox and no
hidden cases. The marks stay in the cells, so `course grade` can grade what is handed in, too.

Formats: https://nbgrader.readthedocs.io and https://otter-grader.readthedocs.io/en/latest/otter_assign/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from course_lib import exercises
from course_lib.exercises.spec import Exercise
from course_lib.files import write_text
from course_lib.site.build import read_lab
from course_lib.site.cache import SETUP_CELL
from course_lib.site.paths import SiteError, find_project
from course_lib.site.points import with_points
from course_lib.site.solve import MARK, exercise_id, solution_source

# Without this, a line that raises an error would follow the stub, whose own line does so already.
NBGRADER_CONFIG = """\
c = get_config()
c.ClearSolutions.code_stub = {"python": ""}
"""
NO_NOTEBOOK = "{lab} has no notebook in labs/: a lab of your own is not exported; grade it with `course grade`"
OTTER_CONFIG = """\
# ASSIGNMENT CONFIG
export_cell: false
check_all_cell: false
tests:
    ok_format: false
"""


@dataclass(frozen=True)
class Task:
    """An exercise as it stands in the notebook.

    Attributes:
        exercise: The exercise.
        text: What it asks.
        stub: What the learner completes, without the mark.
        use: The line that goes on with the learner's answer, or with the reference.
    """

    exercise: Exercise
    text: str
    stub: str
    use: str


def nbgrader(lab: str, folder: Path) -> list[Path]:
    """Write a course folder of nbgrader with this lab as an assignment.

    Returns:
        The files that were written.

    Raises:
        SiteError: If there is no such lab, or another configuration is there.
    """
    notebook = _begin(lab)
    for task in _tasks(lab):
        id, points = task.exercise.id, task.exercise.points
        solution = f"### BEGIN SOLUTION\n{solution_source(task.exercise)}\n### END SOLUTION"
        notebook.cells += [
            new_markdown_cell(task.text),
            _marked(f"{MARK} {id}\n{task.stub}\n{solution}", grade_id=id, solution=True),
            _marked(_test(task.exercise), grade_id=f"{id}-check", grade=True, locked=True, points=points),
            new_code_cell(task.use),
        ]
    config, source = folder / "nbgrader_config.py", folder / "source" / lab / f"{lab}.ipynb"
    if config.exists() and "ClearSolutions.code_stub" not in config.read_text(encoding="utf-8"):
        raise SiteError(f'{config} is there already; add to it: c.ClearSolutions.code_stub = {{"python": ""}}')
    written = [source] if config.exists() else [config, source]
    if not config.exists():
        write_text(config, NBGRADER_CONFIG)
    write_text(source, nbformat.writes(notebook) + "\n")
    return written


def otter(lab: str, folder: Path) -> list[Path]:
    """Write the notebook that `otter assign` reads.

    Returns:
        The file that was written.

    Raises:
        SiteError: If there is no such lab.
    """
    notebook = _begin(lab)
    notebook.cells.insert(0, new_raw_cell(OTTER_CONFIG))
    for task in _tasks(lab):
        id, name = task.exercise.id, task.exercise.name
        solution = f"# BEGIN SOLUTION NO PROMPT\n{solution_source(task.exercise)}\n# END SOLUTION"
        prompt = f"''' # BEGIN PROMPT\n{task.stub}\n''' # END PROMPT"
        test = f'def test_{id}(env):\n    from course_lib.grader import check\n    assert check("{id}", env["{name}"])'
        notebook.cells += [
            new_raw_cell(f"# BEGIN QUESTION\nname: {id}\npoints: {task.exercise.points}"),
            new_markdown_cell(task.text),
            new_raw_cell("# BEGIN SOLUTION"),
            new_code_cell(f"{MARK} {id}\n{solution}\n{prompt}"),
            new_raw_cell("# END SOLUTION"),
            new_raw_cell("# BEGIN TESTS"),
            new_code_cell(f"{test}\n\ntest_{id}(globals())  # IGNORE"),
            new_raw_cell("# END TESTS"),
            new_raw_cell("# END QUESTION"),
            new_code_cell(task.use),
        ]
    write_text(folder / f"{lab}.ipynb", nbformat.writes(notebook) + "\n")
    return [folder / f"{lab}.ipynb"]


def _test(exercise: Exercise) -> str:
    """Return a cell that raises an error unless the visible check passes; it imports afresh what it trusts."""
    return f'from course_lib.grader import check\nassert check("{exercise.id}", {exercise.name})'


def _marked(source: str, **changes: str | bool | int) -> nbformat.NotebookNode:
    of_nbgrader: dict[str, str | bool | int] = {
        "schema_version": 3,
        "grade": False,
        "locked": False,
        "solution": False,
        "task": False,
    }
    return new_code_cell(source, metadata={"nbgrader": {**of_nbgrader, **changes}})


def _lab(lab: str) -> nbformat.NotebookNode:
    if lab not in exercises.labs():
        raise SiteError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    project = find_project()
    if not (project.labs / f"{lab}.ipynb").is_file():
        raise SiteError(NO_NOTEBOOK.format(lab=lab))
    return with_points(lab, read_lab(project, lab))


def _begin(lab: str) -> nbformat.NotebookNode:
    """Return a notebook with what stands before the first exercise: title, set-up, imports."""
    source = _lab(lab)
    cells = [cell for cell in source.cells if cell.cell_type == "code" and not exercise_id(cell)]
    first = [new_code_cell(cell.source) for cell in cells if cell.id in (SETUP_CELL, "imports")]
    title = new_markdown_cell(
        f"# {exercises.lab(lab).title}\n\nThe exercises of the lab `{lab}`, without its experiments."
    )
    return new_notebook(cells=[title, *first], metadata=source.metadata)


def _tasks(lab: str) -> Iterator[Task]:
    """Yield the exercises of a lab: in its notebook, each has its text before it and its check after it."""
    cells, found = _lab(lab).cells, {exercise.id: exercise for exercise in exercises.of_lab(lab)}
    for before, cell, after in zip(cells, cells[1:], cells[2:], strict=False):
        if id := exercise_id(cell):
            stub = cell.source.partition("\n")[2].rstrip()
            use = next(line for line in after.source.splitlines() if " = use(" in line)
            yield Task(found[id], before.source, stub, use)
