"""The course's own Sphinx extension: cited numbers, quizzes, the frame of a lab's page, credits, what comes next."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from . import describe, home, lab, library, nav, number, quiz


def setup(app: Sphinx) -> dict[str, Any]:
    for part in (number, quiz, lab, library, describe, home, nav):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
