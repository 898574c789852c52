"""Executed notebooks, kept under the hash of everything that their outputs depend on."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.files import write_text
from course_lib.site.paths import Project, digest_of, digest_of_tree

# The builder and the command line change no output; all the rest of the library may.
NOT_IN_LABS = ("site", "cli.py")
# The cell that installs the course on Colab: `course configure` writes an address into it, here it does nothing.
SETUP_CELL = "colab-setup"


def preset() -> str:
    return os.environ.get("COURSE_PRESET") or "cpu"


def surroundings(project: Project) -> str:
    """One hash of what every lab depends on: the library, the pins, the preset, Python and torch."""
    pins = project.root / "requirements.lock"
    return digest_of(
        digest_of_tree(project.library, skip=NOT_IN_LABS),
        pins.read_bytes() if pins.is_file() else b"",
        preset(),
        platform.python_version(),
        version("torch"),
    )


def key(solved: NotebookNode, surroundings: str) -> str:
    """The name under which a solved notebook's execution is kept."""
    cells = [cell for cell in solved.cells if cell.get("id") != SETUP_CELL]
    return digest_of(json.dumps({**solved, "cells": cells}, sort_keys=True), surroundings)


def path(project: Project, key: str) -> Path:
    return project.executed / f"{key}.ipynb"


def load(project: Project, key: str) -> NotebookNode | None:
    """The executed notebook, or None when it has to be run."""
    try:
        return nbformat.read(path(project, key), as_version=4)
    except (FileNotFoundError, nbformat.reader.NotJSONError):
        return None


def store(project: Project, key: str, executed: NotebookNode) -> None:
    write_text(path(project, key), nbformat.writes(executed))
