"""How grades came about, for who asks later, such as an exam board: version of the course, date, command, and rules."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from course_lib.checkout import commit_of
from course_lib.exercises import own
from course_lib.grader.deadlines import Deadlines
from course_lib.grader.grades_folder import sha256

HIDDEN = "(not written down)"


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def of_run(deadlines: Deadlines | None = None) -> dict[str, Any]:
    """Return what grades.json says about this run: when and how it was made, and by which rules."""
    text = own.course().text
    return {
        "at": now(),
        "command": command_line(sys.argv),
        "commit": commit_of(Path.cwd()),
        "course.toml": sha256(text) if text else None,
        "deadlines": {lab or "all labs": due.isoformat() for lab, due in deadlines.of_lab.items()} if deadlines else {},
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def command_line(words: list[str]) -> str:
    """Return a command as it was typed, without the seed: grades.json does not tell the hidden cases."""
    shown, hide = [Path(words[0]).name], False
    for word in words[1:]:
        option, equals, _ = word.partition("=")
        shown.append(HIDDEN if hide else f"--seed={HIDDEN}" if option == "--seed" and equals else word)
        hide = word == "--seed"
    return shlex.join(shown)
