"""The course's own Sphinx extension: cited numbers, figures, code, predictions, quizzes, labs, and what comes next."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from course_lib.site.execute import cores

from . import contents, describe, explorer, home, lab, library, nav, number, predict, quiz, recorded, shown, source


def use_all_cores(app: Sphinx) -> None:
    """Read and write pages in several processes, for which Jupyter Book has no option."""
    app.parallel = cores() + 1 if cores() > 1 else 1  # one process hands the pages out while the others write them
    # It does not say so itself: it numbers the chapters when all have been read.
    app.extensions["sphinx_multitoc_numbering"].parallel_read_safe = True


def setup(app: Sphinx) -> dict[str, Any]:
    for part in (number, shown, source, predict, quiz, lab, library, describe, explorer, home, contents, nav, recorded):
        part.setup(app)
    app.connect("builder-inited", use_all_cores)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
