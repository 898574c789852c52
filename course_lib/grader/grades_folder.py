"""The folder of grades, which outlives a run: its secret seed, whose grades it holds, the reports of earlier runs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.grader.submission import Submission

TABLES = ("grades.csv", "grades.json", "seed.json", "source.json")


def prepare(out: Path) -> None:
    """Make the folder; CourseError when nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise CourseError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error


def secret_seed(out: Path) -> int:
    """The seed of this folder of grades: made once, kept where only the instructor looks, never in a report."""
    path = out / "seed.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["seed"])
    except FileNotFoundError:
        seed = secrets.randbits(63)
        write_text(path, json.dumps({"seed": seed}), private=True)
        return seed
    except (ValueError, KeyError, TypeError) as error:
        raise CourseError(
            f"{path} is damaged; restore it, or delete it and source.json beside it to grade everything afresh"
        ) from error


def claim(out: Path, submissions: Path, seed_id: str) -> None:
    """Remember whose grades a folder holds, and with which seed; CourseError when it holds others already."""
    path, ours = out / "source.json", {"folder": str(submissions.resolve()), "seed_id": seed_id}
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        folder, seed = theirs["folder"], theirs["seed_id"]
    except FileNotFoundError:
        write_text(path, json.dumps(ours, indent=1), private=True)
        return
    except (ValueError, KeyError, TypeError) as error:
        raise CourseError(f"{path} is damaged; delete it if {out} holds the grades of {submissions}") from error
    if folder != ours["folder"]:
        raise CourseError(
            f"{out} holds the grades of another folder, {folder}; choose another --out, "
            f"or delete {path} if it is the same folder and was moved"
        )
    if seed != seed_id:
        raise CourseError(f"{out} holds grades made with another seed; choose another --out, or give the same --seed")


def report_folder(out: Path, name: str, taken: set[str]) -> Path:
    """A folder below `out` for a submission, which no name chosen by a student can make collide with another file."""
    reserved = (*TABLES, "report.json", "report.html")
    parts = [part + "_" if part.casefold().rstrip("_") in reserved else part for part in name.split("/")]
    folder = "/".join(parts)
    while folder.casefold() in taken:
        folder += "_"
    taken.add(folder.casefold())
    return out / folder


def earlier_report(submission: Submission, identity: dict[str, str]) -> dict[str, Any] | None:
    """The report of an earlier run, if nothing has changed that decides the grade."""
    try:
        report = json.loads((submission.folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {
        **identity,
        "name": submission.name,
        "lab": submission.lab,
        "file": submission.notebook.digest,
        "verdict": "graded",
    }
    return report if all(report.get(key) == value for key, value in wanted.items()) else None


def remove_stale(out: Path, current: set[Path]) -> int:
    """Remove the reports of submissions that are gone, and folders left empty; returns how many reports that were."""
    removed, names = 0, {str(folder).casefold() for folder in (out, *current)}  # some disks do not tell a from A
    for name, folders, files in os.walk(out):
        folder = Path(name)
        if folder != out and "source.json" in files:  # grades of another run, kept inside of these
            folders.clear()
        elif "report.json" in files and str(folder).casefold() not in names and _is_report(folder / "report.json"):
            for file in ("report.json", "report.html"):
                (folder / file).unlink(missing_ok=True)
            removed += 1
            while folder != out and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
    return removed


def _is_report(path: Path) -> bool:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and {"name", "verdict", "seed_id", "exercises"} <= set(report)


def sha256(*texts: str | bytes) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() if isinstance(text, str) else text)
    return digest.hexdigest()
