"""Reading a submitted notebook, of which only the source of the code cells is used."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from course_lib import exercises

LARGEST_FILE = 250 * 2**20
LARGEST_WHOLE = 25 * 2**20  # of a larger one the outputs are skipped: as objects they could fill the memory
LARGEST_SOURCE = 2 * 2**20
MOST_EVENTS = 10**7  # numbers, texts, brackets: some seconds of reading
TOO_LONG = f"its code is longer than {LARGEST_SOURCE // 2**20} MB"
BROKEN_OFF = "it ends in the middle, as after a download that broke off; ask for it again"
_ASKED = re.compile(r"""\b(?:check|use)\(\s*["']([\w.-]+)["']""")
_DEFINED = re.compile(r"^(?:def|class)\s+(\w+)", re.MULTILINE)
_MARK = re.compile(r"^\s*#+\s*EXERCISE\s*[:：]\s*([\w.-]+)", re.MULTILINE | re.IGNORECASE)


class Unreadable(Exception):
    """Raised when a file cannot be graded; the message says why and, if possible, what to do.

    Attributes:
        lab: The lab that it looks like, or "".
    """

    def __init__(self, message: str, lab: str = ""):
        super().__init__(message)
        self.lab = lab


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
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_FILE:
            raise Unreadable(f"it is larger than {LARGEST_FILE // 2**20} MB; clear its outputs and save it again")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        document = _without_outputs(file) if size > LARGEST_WHOLE else _whole(file.read(LARGEST_WHOLE))
    if size > LARGEST_WHOLE and document["nbformat"] == 3:
        raise Unreadable("it has the old format 3, and too many outputs; clear them and save it again")
    cells = _sources(document)
    if sum(map(len, cells)) > LARGEST_SOURCE:
        raise Unreadable(TOO_LONG)
    return Notebook(cells, digest, marks_in(cells))


def _whole(data: bytes) -> Any:
    if not data:
        raise Unreadable("it is empty")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if data.startswith(b"PK"):
            raise Unreadable("it is a zip archive or a Word file with the name of a notebook") from None
        raise Unreadable(f"it is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
            raise Unreadable(BROKEN_OFF) from None
        raise Unreadable(f"it is not a notebook (JSON error at line {error.lineno}: {error.msg})") from None
    except (RecursionError, ValueError):
        raise Unreadable("its JSON is nested too deep or has numbers without end") from None


def _without_outputs(file: BufferedReader) -> dict[str, Any]:
    """Read format and cells of a notebook event by event, and keep of the cells only kind and source."""
    import ijson  # here, since few files are so large

    document: dict[str, Any] = {"nbformat": None, "cells": []}
    places: list[Any] = [None]  # what each open bracket is in the document; None for what is not kept
    key, length = "", 0
    try:
        for n, (event, value) in enumerate(ijson.basic_parse(file)):
            if n == MOST_EVENTS:
                raise Unreadable("its outputs have too many parts; clear them and save it again")
            place = places[-1]
            if event in ("end_map", "end_array"):
                places.pop()
                continue
            if event == "map_key":
                key = value
                continue
            content = {"start_map": {}, "start_array": []}.get(event, value)
            if event == "start_map" and len(places) == 1:
                content = document
            elif not _kept(document, places, key):
                content = None
            elif isinstance(place, list):
                place.append(content)
            else:
                place[key] = content
            if event in ("start_map", "start_array"):
                places.append(content)
            elif isinstance(content, str) and (length := length + len(content)) > LARGEST_SOURCE:
                raise Unreadable(TOO_LONG)
    except ijson.IncompleteJSONError:
        raise Unreadable(BROKEN_OFF) from None
    except (ijson.JSONError, ValueError) as error:
        said = str(error).splitlines()[0][:100]
        raise Unreadable(f"it cannot be read without its outputs ({said}); clear them and save it again") from None
    return document


def _kept(document: dict[str, Any], places: list[Any], key: str) -> bool:
    """Whether what comes now in this place is kept: format, list of cells, a cell, its kind or source, a line of it."""
    place, depth = places[-1], len(places)
    if place is document:
        return key in document
    if depth == 3:
        return place is document["cells"]
    if depth == 4:
        return isinstance(place, dict) and key in ("cell_type", "source")
    return depth == 5 and isinstance(place, list)


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
        if not owners:
            raise _without_marks(notebook, f"it has no exercise of {wanted}")
        raise Unreadable(f"it has no exercise of {wanted}; it looks like {owners.most_common(1)[0][0]}")
    if not owners:
        raise _without_marks(notebook, "it has no exercise")
    return min(owners, key=lambda slug: (-owners[slug], slug))


def _without_marks(notebook: Notebook, what: str) -> Unreadable:
    """Return an error about a notebook without any mark, with the lab that it looks like and what to do."""
    asked = {id for source in notebook.cells for id in _ASKED.findall(source)}
    defined = {name: n for n, source in enumerate(notebook.cells, 1) for name in _DEFINED.findall(source)}
    # By id first, which imports no exercise; nearly all functions are called like their exercise.
    alike = Counter(slug for id in {*asked, *defined} if (slug := exercises.lab_of(id))).most_common(2)
    said = f"{what}: no cell begins with a mark such as `# EXERCISE: softmax`"
    if not alike or (len(alike) > 1 and alike[0][1] == alike[1][1]):
        return Unreadable(f"{said}; copy the answers into a new copy of the lab, and hand that in")
    lab = alike[0][0]
    places = [(e.id, defined[e.name]) for e in exercises.of_lab(lab) if e.name in defined]
    if not places:
        advice = "copy the answers into a new copy of this lab, and hand that in"
    else:
        lines = [f"`# EXERCISE: {id}` at the top of code cell {cell}" for id, cell in places]
        advice = f"put {', '.join(lines)}, and hand it in again"
    return Unreadable(f"{said}; it looks like {lab}: {advice}", lab)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file: no link, and no pipe or device that might never end."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise Unreadable("it is not a plain file (a link, folder or device)")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable("it is not a plain file (a link, folder or device)")
            yield file
    except OSError as error:
        raise Unreadable(f"it cannot be opened: {error.strerror}") from None


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
