"""What grading will see otherwise than the notebook does now, told by `check` at once.

Grading has the cells only; the notebook's process also has what deleted cells and magics left in it. IPython keeps the
source of each cell that was run, also of one that failed. So it is known here if none of them makes a name, or if the
cell of the exercise has since been run with an error in it. Not known: whether a cell that was run is still there.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.exercises.spec import Exercise
from course_lib.grader.cells_needed import Statements
from course_lib.grader.inside import cells
from course_lib.grader.inside.outcomes import Answer
from course_lib.grader.notebook import LARGEST_SOURCE, Notebook, marks_in

_KNOWN = {*vars(builtins), "exit", "quit", "__name__", "__annotations__"}
_KNOWN |= {"check", "hint", "use", "predict", "record", "display"}
_analyse = functools.lru_cache(maxsize=1000)(cells.analyse)


def what_grading_sees(exercise: Exercise, obj: Any) -> str | None:
    """Return a sentence if grading will see an answer otherwise than this process, as far as that can be known.

    Args:
        exercise: The exercise.
        obj: What was passed to `check`.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    history = getattr(shell, "history_manager", None)  # a shell may keep none
    return difference(exercise, obj, history.input_hist_raw, shell.user_ns) if shell and history else None


def difference(exercise: Exercise, obj: Any, sources: Sequence[str], namespace: Mapping[str, Any]) -> str | None:
    """Compare what is in a namespace with what grading will make of the cells that were run.

    Args:
        exercise: The exercise.
        obj: What was passed to `check`.
        sources: The sources of the cells, in the order in which they ran.
        namespace: The global names of the notebook.
    """
    if sum(map(len, sources)) > LARGEST_SOURCE:
        return None
    notebook = Notebook(list(sources), "", marks_in(sources))
    if exercise.id not in notebook.marks:
        return f"Grading will not find this answer: it needs a cell that begins with `# EXERCISE: {exercise.id}`."
    if namespace.get(exercise.name) is not obj:
        return f"Grading takes what the notebook calls `{exercise.name}`; you have passed another object."
    statements = Statements(notebook, [exercise], lambda source: Answer(_analyse(source)))
    if older := _older(exercise, notebook, statements):
        return older
    pieces, _ = statements.needed(exercise, [])
    made = _KNOWN.union(*(piece.binds for piece in pieces))
    lost = {name for piece in pieces for name in piece.uses - made if name in namespace}
    if lost and "*" not in made:
        return f"Grading will not find `{min(lost)}`, which your code uses: no cell makes it by a statement of its own."
    if statements.answers[exercise.id][0].cell > notebook.marks[exercise.id][-1]:
        return (
            f"Grading finds your {exercise.name} by the line `# EXERCISE: {exercise.id}`, at the top of its cell or of "
            "one above it. If you have taken that line out, put it back."
        )
    return None


def _older(exercise: Exercise, notebook: Notebook, statements: Statements) -> str | None:
    """Return a sentence if the marked cell was run again, and what was checked is not from there."""
    marked, answer = notebook.marks[exercise.id], statements.answers[exercise.id]
    problem = statements.problems.get(marked[-1])
    if problem and not answer:
        found = f"is not valid Python ({problem})."
    elif not answer or answer[0].cell in marked[:-1]:
        found = f"does not define `{exercise.name}`; is the name misspelled?"
    else:
        return None
    return f"The cell with the mark that you ran last {found} Grading takes this cell; what was checked is older."
