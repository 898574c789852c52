"""`{explorer} lab cell`: an explorer that a lab has drawn, in the chapter where its idea is.

    ```{explorer} ch01_attention real-explore
    :name: explorer-attention
    ```

`cell` is the id of the notebook's cell. The name is the explorer's address on the page.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import ClassVar

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

EXPLORER = 'class="course-explorer'


class ExplorerDirective(SphinxDirective):
    required_arguments = 2
    option_spec: ClassVar = {"name": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        lab, cell = self.arguments
        name = self.options.get("name")
        if not name:
            raise self.error("an explorer needs `:name:`, its address on the page")
        path = Path(self.env.srcdir) / "labs" / f"{lab}.ipynb"
        self.env.note_dependency(str(path))
        if not path.is_file():
            raise self.error(f"there is no lab {lab}")
        try:
            html = explorer(nbformat.read(path, as_version=4), cell)
        except LookupError as error:
            raise self.error(f"labs/{lab}.ipynb: {error}") from None
        link = f'<a class="headerlink" href="#{escape(name)}" title="Link to this explorer">#</a>'
        inside = html or "<p>This explorer is drawn by a lab, which was not run in this build.</p>"
        return [nodes.raw("", f'<div class="explorer" id="{escape(name)}">{link}{inside}</div>', format="html")]


def explorer(notebook: nbformat.NotebookNode, cell: str) -> str | None:
    """The HTML of the explorer that a cell has drawn; None if the notebook was not run.

    Raises:
        LookupError: If there is no such cell, or it has drawn no explorer.
    """
    drawn = next((found for found in notebook.cells if found.get("id") == cell), None)
    if drawn is None:
        raise LookupError(f"there is no cell {cell}")
    if "course" not in notebook.metadata:
        return None
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in drawn.outputs]
    if (html := next((page for page in pages if EXPLORER in page), None)) is None:
        raise LookupError(f"cell {cell} has drawn no explorer")
    return html


def setup(app: Sphinx) -> None:
    app.add_directive("explorer", ExplorerDirective)
