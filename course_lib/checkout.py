"""The checkout of the course: where it is, and which commit it is at."""

from __future__ import annotations

import subprocess
from pathlib import Path

import course_lib
from course_lib.errors import CourseError


class NoCheckout(CourseError):
    """The error raised when neither the working directory nor the library is inside a checkout of the course."""


def find_checkout(start: Path | None = None) -> Path:
    """Find the root of the checkout that contains a folder, or else of the one that `course_lib` comes from.

    Args:
        start: The folder to search from; the working directory by default.

    Raises:
        NoCheckout: If neither is in a checkout.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(course_lib.__file__).resolve().parent.parent):
        if (folder / "_toc.yml").is_file() and (folder / "_config.yml").is_file():
            return folder
    raise NoCheckout("this is not a checkout of the course (no _toc.yml here or above): change into the cloned folder")


def commit_of(folder: Path, *within: str) -> str:
    """Return the short commit hash of the checkout that contains a folder.

    A plus is added if files differ from the commit: any file, or one that git's patterns `within` fit. Outside git the
    answer is "none".
    """
    try:
        checkout = find_checkout(folder)
        commit = _git(checkout, "rev-parse", "--short=10", "HEAD")
        return commit + ("+" if _git(checkout, "status", "--porcelain", "--", *within) else "")
    except (NoCheckout, OSError, subprocess.CalledProcessError):
        return "none"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
