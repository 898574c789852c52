"""Conversion of an executed notebook to a page of the book.

The page has the stub and a fold-out solution, machinery is folded to one line, the recorded numbers of a section stand
in one table at its end, and there are no live widgets.
"""

from __future__ import annotations

import copy
import re

import nbformat
from nbformat import NotebookNode

from course_lib.site.cache import SETUP_CELL
from course_lib.site.solve import exercise_id

WIDGET = "application/vnd.jupyter.widget-view+json"
# The tag of a cell that is not the idea: imports, plotting, recording. In Jupyter its metadata hides the source.
MACHINERY = "machinery"
KINDS = {"plot": r"\bfigure\(", "table": r"\btable\(", "recording": r"\brecord\(", "imports": r"^(?:import|from) "}


def page(lab: str, notebook: NotebookNode, executed: NotebookNode | None) -> NotebookNode:
    """Return the notebook that Sphinx reads.

    `notebook` is the learner's; if `executed` is None, it is shown without outputs.
    """
    shown = copy.deepcopy(executed or notebook)
    shown.metadata.pop("widgets", None)
    shown.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    stubs = {name: cell.source for cell in notebook.cells if (name := exercise_id(cell))}
    tagged = {cell.get("id"): cell.metadata for cell in notebook.cells}  # tags may have changed since it was run
    setup = next((cell.source for cell in notebook.cells if cell.get("id") == SETUP_CELL), None)
    cells: list[NotebookNode] = []
    recorded: list[str] = []
    for cell in shown.cells:
        if cell.cell_type == "markdown" and re.search(r"(?m)^## ", cell.source):
            cells += table_of(recorded, len(cells))
            recorded = []
        if is_step(cell):
            anchor = f'<span class="step" id="{step(cell.id)}"></span>'
            cells.append(nbformat.v4.new_markdown_cell(anchor, id=step(cell.id)[:64]))
        cells.append(cell)
        if cell.cell_type == "code":
            cell.metadata = copy.deepcopy(tagged.get(cell.get("id"), cell.metadata))
            cell.outputs = [kept for output in cell.outputs if (kept := without_widget(output))]
            recorded += [record["key"] for output in cell.outputs if (record := record_of(output))]
            cell.outputs = [output for output in cell.outputs if not record_of(output)]
            fold(cell)
        if cell.get("id") == SETUP_CELL and setup is not None:
            cell.source = setup  # it may have changed since the notebook was run
        if name := exercise_id(cell):
            cell.source = stubs[name]
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "exercise"]
            cells.append(nbformat.v4.new_markdown_cell(f"```{{solution}} {name}\n```", id=f"solution-{name}"[:64]))
    cells += table_of(recorded, len(cells))
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


def fold(cell: NotebookNode) -> None:
    """Fold the code of a cell of machinery to one line that says what it is, such as "plot, 14 lines"."""
    tags = cell.metadata.get("tags", [])
    if MACHINERY in tags:
        kind = next((kind for kind, sign in KINDS.items() if re.search(sign, cell.source, re.MULTILINE)), "code")
        prompt = f"{kind}, {len(cell.source.splitlines())} lines"
        cell.metadata["tags"] = [*tags, "hide-input"]
        cell.metadata["mystnb"] = {"code_prompt_show": prompt, "code_prompt_hide": prompt}


def record_of(output: NotebookNode) -> NotebookNode | None:
    """Return the number that an output records, if it records one."""
    return output.get("metadata", {}).get("course_record")


def table_of(keys: list[str], place: int) -> list[NotebookNode]:
    """Return a cell with the table of the numbers that a section has recorded; no cell if there are none."""
    lines = "\n".join(keys)
    return [nbformat.v4.new_markdown_cell(f"```{{recorded}}\n{lines}\n```", id=f"recorded-{place}")] if keys else []


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
