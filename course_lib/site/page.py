"""Conversion of an executed notebook to a page of the book: the stub, a fold-out solution, no live widgets."""

from __future__ import annotations

import copy

import nbformat
from nbformat import NotebookNode

from course_lib.site.cache import SETUP_CELL
from course_lib.site.solve import exercise_id

WIDGET = "application/vnd.jupyter.widget-view+json"


def page(lab: str, notebook: NotebookNode, executed: NotebookNode | None) -> NotebookNode:
    """Return the notebook that Sphinx reads.

    `notebook` is the learner's; if `executed` is None, it is shown without outputs.
    """
    shown = copy.deepcopy(executed or notebook)
    shown.metadata.pop("widgets", None)
    shown.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    stubs = {name: cell.source for cell in notebook.cells if (name := exercise_id(cell))}
    setup = next((cell.source for cell in notebook.cells if cell.get("id") == SETUP_CELL), None)
    cells: list[NotebookNode] = []
    for cell in shown.cells:
        if is_step(cell):
            anchor = f'<span class="step" id="{step(cell.id)}"></span>'
            cells.append(nbformat.v4.new_markdown_cell(anchor, id=step(cell.id)[:64]))
        cells.append(cell)
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := without_widget(output))]
        if cell.get("id") == SETUP_CELL and setup is not None:
            cell.source = setup  # it may have changed since the notebook was run
        if name := exercise_id(cell):
            cell.source = stubs[name]
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "exercise"]
            cells.append(nbformat.v4.new_markdown_cell(f"```{{solution}} {name}\n```", id=f"solution-{name}"[:64]))
    _insert_below_title(cells[0], f"```{{lab}} {lab}\n```")
    shown.cells = cells
    return shown


def step(cell: str) -> str:
    """Return the anchor on a lab's page of a cell that measures or shows what pages cite."""
    return f"step-{cell}"


def is_step(cell: NotebookNode) -> bool:
    """Return whether pages may cite what a cell measured or showed."""
    return any(
        {"course_record", "course_shown"} & output.get("metadata", {}).keys() for output in cell.get("outputs", [])
    )


def without_widget(output: NotebookNode) -> NotebookNode | None:
    """Return the output with its HTML version instead of the widget; None if it has none (a progress bar)."""
    data = output.get("data", {})
    if WIDGET in data:
        del data[WIDGET]
        if "text/html" not in data:
            return None
        data.pop("text/plain", None)
    return output


def _insert_below_title(cell: NotebookNode, directive: str) -> None:
    """Put a directive below the first heading of a markdown cell."""
    lines = cell.source.split("\n")
    at = next((i + 1 for i, line in enumerate(lines) if line.startswith("# ")), 0)
    cell.source = "\n".join([*lines[:at], "", directive, "", *lines[at:]])
