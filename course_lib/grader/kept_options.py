"""The options of `course grade` that decide marks: a folder of grades keeps them, so that no later run forgets one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.files import write_text

KEPT = "options.json"
NONE = "none"  # as the value of an option: what was kept of it no longer holds


def with_kept(out: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that hold: those which are given, and for the others what an earlier run was given.

    `deadline` is a list. A deadline for all labs replaces the kept ones, and LAB=WHEN that of its lab.

    Args:
        out: The folder of grades.
        given: The options by name; None, or an empty list, where the command line has none.

    Raises:
        CourseError: If the kept options cannot be read.
    """
    try:
        kept = {name: dict(json.loads((out / KEPT).read_text(encoding="utf-8"))).get(name) for name in given}
    except FileNotFoundError:
        kept = {}
    except (OSError, ValueError, TypeError) as error:
        raise CourseError(f"{out / KEPT} is damaged; delete it, and give deadlines and penalty again") from error
    deadlines = given.get("deadline") or []
    if deadlines == [NONE]:
        kept |= {"deadline": None, "late_penalty": None}
    elif deadlines and all("=" in text for text in deadlines):
        labs = {_lab(text) for text in deadlines}
        given = {**given, "deadline": [t for t in kept.get("deadline") or [] if _lab(t) not in labs] + deadlines}
    options = {name: value or kept.get(name) for name, value in given.items()}
    return {name: None if value in (NONE, [NONE]) else value for name, value in options.items()}


def keep(out: Path, options: dict[str, Any]) -> None:
    """Keep the options for the next run."""
    write_text(out / KEPT, json.dumps(options), private=True)


def as_typed(options: dict[str, Any]) -> str:
    """Return options as they are written on the command line."""
    words = []
    for name, value in options.items():
        for text in value if isinstance(value, list) else [value] if value else []:
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _lab(text: str) -> str:
    return text.partition("=")[0].strip() if "=" in text else ""
