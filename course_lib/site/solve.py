"""From the learner's notebook to the solved one: each stub becomes the reference's source, under the same mark."""

from __future__ import annotations

import copy
import inspect
import textwrap

from nbformat import NotebookNode

from course_lib.exercises import find
from course_lib.exercises.spec import Exercise

MARK = "# EXERCISE:"


def exercise_id(cell: NotebookNode) -> str | None:
    """The id in a cell's first line `# EXERCISE: <id>`, or None."""
    first = cell.source.split("\n", 1)[0]
    return first.removeprefix(MARK).strip() if cell.cell_type == "code" and first.startswith(MARK) else None


def solution_source(exercise: Exercise) -> str:
    """The reference as a reader would type it."""
    return textwrap.dedent(inspect.getsource(exercise.reference)).strip()


def solve(notebook: NotebookNode) -> NotebookNode:
    """A copy with every stub replaced by its mark and the reference's source."""
    solved = copy.deepcopy(notebook)
    for cell in solved.cells:
        if name := exercise_id(cell):
            cell.source = f"{MARK} {name}\n{solution_source(find(name))}"
    return solved
