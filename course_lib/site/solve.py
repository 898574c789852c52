"""Solving of the learner's notebook: each stub is replaced by the reference's source, under the same mark."""

from __future__ import annotations

import copy
import inspect
import textwrap
from typing import TYPE_CHECKING

from nbformat import NotebookNode

from course_lib.exercises import find

if TYPE_CHECKING:  # it imports torch, which only a notebook with an exercise needs
    from course_lib.exercises.spec import Exercise

MARK = "# EXERCISE:"


def exercise_id(cell: NotebookNode) -> str | None:
    """Return the id in a cell's first line `# EXERCISE: <id>`, or None."""
    first = cell.source.split("\n", 1)[0]
    return first.removeprefix(MARK).strip() if cell.cell_type == "code" and first.startswith(MARK) else None


def solution_source(exercise: Exercise) -> str:
    """Return the source code of the reference solution, as a reader would type it.

    Raises:
        LookupError: If this is a student version, which has none.
    """
    if exercise.stored:
        raise LookupError(
            f"this is a student version, which has no reference of {exercise.id}; run it in the full course"
        )
    return textwrap.dedent(inspect.getsource(exercise.reference)).strip()


def solve(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of the notebook in which the reference's source replaces every stub, below its mark."""
    solved = copy.deepcopy(notebook)
    for cell in solved.cells:
        if name := exercise_id(cell):
            cell.source = f"{MARK} {name}\n{solution_source(find(name))}"
    return solved
