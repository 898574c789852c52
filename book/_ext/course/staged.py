"""The files that the build puts beside the pages: what labs measured, showed and cost."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from sphinx.environment import BuildEnvironment


def read(env: BuildEnvironment, name: str) -> dict[str, Any]:
    """A staged file of the build, on which the current page then depends."""
    path = Path(env.srcdir) / name
    env.note_dependency(str(path))
    return _parse(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _parse(path: Path, changed_ns: int) -> dict[str, Any]:
    """Parse a staged file, once for all of the thousands of numbers that are looked up in it."""
    return json.loads(path.read_text(encoding="utf8"))


def lab_was_run(env: BuildEnvironment, key: str, known: dict[str, Any]) -> bool:
    """Whether a key should be here: where one lab alone was run, the keys of the others are missing as they should."""
    run = read(env, "labs.json")
    labs = {name.removeprefix("labs/") for name in env.found_docs if name.startswith("labs/")}
    return labs <= run.keys() or key.partition(".")[0] in {other.partition(".")[0] for other in known}


def step_link(env: BuildEnvironment, entry: dict[str, Any]) -> str | None:
    """The address of the cell that measured or drew something; None where its lab has no page."""
    lab = f"labs/{entry.get('lab')}"
    if lab not in env.found_docs or not entry.get("cell"):
        return None
    return f"{env.app.builder.get_relative_uri(env.docname, lab)}#step-{entry['cell']}"
