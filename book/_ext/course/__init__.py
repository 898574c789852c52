"""The course's own Sphinx extension: cited numbers, figures, code, predictions, quizzes, labs, and what comes next."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from . import contents, describe, explorer, home, lab, library, nav, number, predict, quiz, recorded, shown, source


def setup(app: Sphinx) -> dict[str, Any]:
    for part in (number, shown, source, predict, quiz, lab, library, describe, explorer, home, contents, nav, recorded):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
