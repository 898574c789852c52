"""A cache of executed notebooks, keyed by the hash of everything that their outputs depend on."""

from __future__ import annotations

import ast
import functools
import json
import platform
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.files import write_text
from course_lib.preset import course_seed, preset
from course_lib.site.paths import Project, digest_of

# The cell that installs the course on Colab: `course configure` writes an address into it, here it does nothing.
SETUP_CELL = "colab-setup"
# The rooms that change none of a lab's numbers: what shows a result, and what checks an answer. They give the random
# generators back as they were (tested). References count all the same, as cells of the solved notebook.
NO_NUMBERS = ("show", "grader", "exercises")
# A lab's call for committed results, and the recipe that they are of (tested: it is always a literal).
COMMITTED_RUN = re.compile(r'(?<!def )\bcommitted_run\(\s*"([\w-]+)"')
RUNS = "runs_of_labs"  # the folder of a student version with the labs as the full course has run them
REGISTRY = "data/packages/registry.toml"
REPLICATIONS = "replications"  # the folder in results/ of what no lab reads


def key(project: Project, lab: str, solved: NotebookNode, seed: int | None = None) -> str:
    """Compute the cache key of a solved notebook.

    It depends on the cells (not on their tags), the lab's exercises, what these import from the library, the course
    seed, the preset, the pinned versions, Python and torch.

    Args:
        project: The checkout.
        lab: The name of the lab.
        solved: Its solved notebook.
        seed: The course seed; by default that of COURSE_SEED.
    """
    cells = [{**cell, "metadata": {}} for cell in solved.cells if cell.get("id") != SETUP_CELL]
    files = reached(project, lab, [cell["source"] for cell in cells if cell["cell_type"] == "code"])
    return digest_of(
        json.dumps({**solved, "cells": cells}, sort_keys=True),
        *(part for file in files for part in (name_of(project, file), file.read_bytes())),
        *surroundings(project),
        str(course_seed() if seed is None else seed),
    )


def source(project: Project, lab: str, solved: NotebookNode) -> str:
    """Compute the hash of the code that a lab's numbers come from: its cells and what these import.

    Prose does not count, and neither do the rooms in NO_NUMBERS and what only these import. Of the packages that can be
    fetched, those count whose names are in this code.
    """
    cells = [cell for cell in solved.cells if cell.cell_type == "code" and cell.get("id") != SETUP_CELL]
    texts = [cell.source for cell in cells]
    files = reached(project, lab, texts, without=NO_NUMBERS)
    parts = {name_of(project, file): file.read_bytes() for file in files}
    parts.update((name, named_packages(parts)) for name in parts if name.endswith(REGISTRY))
    return digest_of(*texts, *(part for item in parts.items() for part in item))


def named_packages(parts: Mapping[str, bytes]) -> bytes:
    """Return the entries of the registry that the files name, as "emoji-words" or f"emoji-{vendor}" does."""
    code = b"\n".join(text for name, text in parts.items() if name.endswith(".py")).decode()
    stems = re.findall(r'"([\w-]+-)\{', code)
    entries = tomllib.loads(next(text for name, text in parts.items() if name.endswith(REGISTRY)).decode())
    named = {name for name in entries if f'"{name}"' in code or name.startswith(tuple(stems))}
    return json.dumps({name: entries[name] for name in named}, sort_keys=True).encode()


def surroundings(project: Project) -> tuple[str | bytes, ...]:
    """Return what every lab's outputs depend on: the pinned versions, the preset, Python and torch."""
    pins = project.root / "requirements.lock"
    return pins.read_bytes() if pins.is_file() else b"", preset(), platform.python_version(), version("torch")


def name_of(project: Project, file: Path) -> str:
    """Return the name of a file for a key, which does not depend on where the checkout is."""
    base = project.library.parent if file.is_relative_to(project.library.parent) else project.root
    return file.relative_to(base).as_posix()


def reached(project: Project, lab: str, cells: Iterable[str], without: Iterable[str] = ()) -> list[Path]:
    """Find the files that a lab may run or read: its exercises and all that they and its cells import, also indirectly.

    An import inside a function counts. So does a non-Python file beside a module, unless only modules that the lab does
    not reach name it. The bands of the numbers whose keys a cell names count too, and the committed runs of the recipes
    that `committed_run` is called with.

    Args:
        project: The checkout.
        lab: The name of the lab.
        cells: The code of its cells.
        without: Rooms of the library whose files and imports do not count.
    """
    cells = list(cells)
    library = project.library
    left_out = [library / room for room in without]
    own = [] if "exercises" in without else sorted((library / "exercises" / lab).glob("*.py"))
    texts = [*cells, *(file.read_text(encoding="utf8") for file in own)]
    files, todo = set(own), {"course_lib.exercises.spec"}.union(*map(imported, texts))
    while todo:
        base = library / Path(*todo.pop().split(".")[1:])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file() and file not in files and not any(map(file.is_relative_to, left_out)):
                files.add(file)
                texts.append(file.read_text(encoding="utf8"))
                todo |= imported(texts[-1])
    for folder in {file.parent for file in files}:
        data_files = [file for file in folder.iterdir() if file.suffix not in (".py", ".pyc") and file.is_file()]
        modules = {file: file.read_text(encoding="utf8") for file in folder.glob("*.py")} if data_files else {}
        for data in data_files:
            readers = {file for file, text in modules.items() if data.name in text}
            if not readers or readers & files:
                files.add(data)
    bands = library / "measure" / "expected"
    files.update(file for file in bands.glob("*.toml") if any(f'"{file.stem}.' in text for text in cells))
    recipes = {recipe for text in texts for recipe in committed_runs(text)}
    results = project.root / "results"
    if (rates := results / "rates" / f"{lab}.json").is_file():
        files.add(rates)
    for file in results.rglob("*.json") if recipes else ():
        if file.stem.rpartition("-seed")[0] in recipes and REPLICATIONS not in file.relative_to(results).parts:
            files.add(file)
    return sorted(files)


@functools.cache
def imported(text: str) -> frozenset[str]:
    """Return every course_lib module that a file or cell may import, with its parent packages."""
    code = re.sub(r"^(\s*)[%!].*", r"\1pass", text, flags=re.MULTILINE)  # a notebook's magic
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:  # a name may be a module: both count
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    parts = [name.split(".") for name in names if name.split(".")[0] == "course_lib"]
    return frozenset(".".join(part[:end]) for part in parts for end in range(1, len(part) + 1))


@functools.cache
def committed_runs(text: str) -> frozenset[str]:
    """Return the recipes whose committed runs a file or cell reads."""
    return frozenset(COMMITTED_RUN.findall(text))


def path(project: Project, key: str) -> Path:
    """Return the path of the executed notebook with a key."""
    return project.executed / f"{key}.ipynb"


def load(project: Project, key: str) -> NotebookNode | None:
    """Load an executed notebook, or return None if it has to be run."""
    try:
        return nbformat.read(path(project, key), as_version=4)
    except (FileNotFoundError, nbformat.reader.NotJSONError):
        return None


def released(project: Project, lab: str) -> NotebookNode | None:
    """Load the run of a lab that `course release` put into a student version, or return None if there is none."""
    file = project.root / RUNS / f"{lab}.ipynb"
    return nbformat.read(file, as_version=4) if file.is_file() else None


def store(project: Project, key: str, executed: NotebookNode) -> None:
    """Store an executed notebook under its key."""
    write_text(path(project, key), nbformat.writes(executed))
