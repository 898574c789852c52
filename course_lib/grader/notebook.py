"""Reading a submitted notebook, of which only the source of the code cells is used."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course_lib import exercises

LARGEST_FILE = 25 * 2**20
LARGEST_SOURCE = 2 * 2**20
_MARK = re.compile(r"^\s*#+\s*EXERCISE\s*[:：]\s*([\w.-]+)", re.MULTILINE | re.IGNORECASE)


class Unreadable(Exception):
    """Raised when a file cannot be graded; the message says why and, if possible, what to do."""


@dataclass(frozen=True)
class Notebook:
    """The content of a notebook file.

    Attributes:
        cells: The sources of the code cells.
        digest: The SHA-256 of the file.
        marks: The numbers of the cells with the mark of an exercise, by exercise id.
    """

    cells: list[str]
    digest: str
    marks: dict[str, list[int]] = field(default_factory=dict)


def read_notebook(path: Path) -> Notebook:
    """Read a notebook of format 3 or 4.

    Raises:
        Unreadable: If the file is anything else.
    """
    data = _bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if data.startswith(b"PK"):
            raise Unreadable("it is a zip archive or a Word file with the name of a notebook") from None
        raise Unreadable(f"it is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
            raise Unreadable("it ends in the middle, as after a download that broke off; ask for it again") from None
        raise Unreadable(f"it is not a notebook (JSON error at line {error.lineno}: {error.msg})") from None
    except (RecursionError, ValueError):
        raise Unreadable("its JSON is nested too deep or has numbers without end") from None
    cells = _sources(document)
    if sum(map(len, cells)) > LARGEST_SOURCE:
        raise Unreadable(f"its code is longer than {LARGEST_SOURCE // 2**20} MB")
    return Notebook(cells, digest, marks_in(cells))


def marks_in(cells: Sequence[str]) -> dict[str, list[int]]:
    """Return the numbers of the cells with the mark of an exercise, by exercise id, whatever its case and spaces."""
    marks: dict[str, list[int]] = {}
    for number, source in enumerate(cells):
        for id in _MARK.findall(source):
            marks.setdefault(id.lower(), []).append(number)
    return marks


def lab_of(notebook: Notebook, wanted: str | None = None) -> str:
    """Return the lab that a notebook belongs to: the one that owns most of its marks.

    Args:
        notebook: The notebook.
        wanted: The lab to return, of which the notebook must have an exercise, whatever else is in it.

    Raises:
        Unreadable: If the notebook has no exercise of the course, or none of the lab that is wanted.
    """
    owners = Counter(slug for id in notebook.marks if (slug := exercises.lab_of(id)))
    if wanted is not None:
        if wanted in owners:
            return wanted
        other = f"; it looks like {owners.most_common(1)[0][0]}" if owners else ""
        raise Unreadable(f"it has no exercise of {wanted}{other}")
    if not owners:
        raise Unreadable("it has no exercise: no cell begins with a mark such as `# EXERCISE: softmax`")
    return min(owners, key=lambda slug: (-owners[slug], slug))


def _bytes(path: Path) -> bytes:
    """Read a regular file: no link, and no pipe or device that might never end."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise Unreadable("it is not a plain file (a link, folder or device)")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable("it is not a plain file (a link, folder or device)")
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Unreadable(f"it cannot be opened: {error.strerror}") from None
    if not data:
        raise Unreadable("it is empty")
    if len(data) > LARGEST_FILE:
        raise Unreadable(f"it is larger than {LARGEST_FILE // 2**20} MB; clear its outputs and save it again")
    return data


def _sources(document: object) -> list[str]:
    if not isinstance(document, dict):
        raise Unreadable("it is JSON, but not a notebook")
    version = document.get("nbformat")
    if version == 4:
        cells, key = document.get("cells"), "source"
    elif version == 3:
        sheets = document.get("worksheets")
        sheets = sheets if isinstance(sheets, list) else []
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        cells, key = [cell for cells in lists if isinstance(cells, list) for cell in cells], "input"
    else:
        raise Unreadable("it is not a notebook of format 3 or 4")
    if not isinstance(cells, list):
        raise Unreadable("it has no list of cells")
    found = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get(key)
            if isinstance(source, list):
                source = "".join(line for line in source if isinstance(line, str))
            if isinstance(source, str):
                found.append(source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))
    return found
