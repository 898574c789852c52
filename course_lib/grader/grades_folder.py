"""The folder of grades, which is kept between runs: its secret seed, whose grades it holds, and earlier reports."""

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
from course_lib.grader.kept_options import KEPT
from course_lib.grader.submission import Submission

HAND_INS = "hand_ins.json"
FILES = ("class.html", "grades.csv", "grades.json", HAND_INS, KEPT, "seed.json", "students.csv", "students.json")
REPORT_FILES = ("report.json", "report.html")


def open_folder(out: Path, submissions: Path, seed: int | None) -> int:
    """Create the folder, or continue an earlier run; `seed.json` in it says whose grades it holds.

    Args:
        out: The folder of grades.
        submissions: The folder that is graded.
        seed: The seed of the hidden cases; None for a secret one, drawn once and kept in `seed.json` alone. A seed that
            is given is not kept.

    Returns:
        The seed.

    Raises:
        CourseError: If the folder cannot be written, or holds the grades of another folder or seed.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise CourseError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    path, folder = out / "seed.json", str(submissions.resolve())
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        earlier_folder, earlier_id, earlier_seed = earlier["folder"], earlier["seed_id"], earlier["seed"]
    except FileNotFoundError:
        chosen = secrets.randbits(63) if seed is None else seed
        content = {"folder": folder, "seed_id": seed_id(chosen), "seed": chosen if seed is None else None}
        write_text(path, json.dumps(content), private=True)
        return chosen
    except KeyError as error:
        raise CourseError(f"{out} was written by an earlier version of the course; choose another --out") from error
    except (ValueError, TypeError) as error:
        raise CourseError(f"{path} is damaged; restore it, or delete it to grade everything afresh") from error
    if earlier_folder != folder:
        raise CourseError(
            f"{out} holds the grades of another folder, {earlier_folder}; choose another --out, "
            f"or correct the folder in {path} if it is the same one and was moved"
        )
    seed = earlier_seed if seed is None else seed
    if seed is None or seed_id(seed) != earlier_id:
        raise CourseError(f"{out} holds grades made with another seed; choose another --out, or give the same --seed")
    return seed


def seed_id(seed: int) -> str:
    """Return an id that differs between seeds without revealing them."""
    return sha256(f"course seed {seed}")[:12]


def report_folder(out: Path, name: str, taken: set[str]) -> Path:
    """Return a folder below `out` for a submission; no name that a student chooses can collide with another file."""
    reserved = (*FILES, *REPORT_FILES)
    parts = [part + "_" if part.casefold().rstrip("_") in reserved else part for part in name.split("/")]
    folder = "/".join(parts)
    while folder.casefold() in taken:
        folder += "_"
    taken.add(folder.casefold())
    return out / folder


def earlier_report(submission: Submission) -> dict[str, Any] | None:
    """Return the report of an earlier run if nothing that decides the grade has changed."""
    report = _read_report(submission.folder)
    decides = {"name": submission.name, "lab": submission.lab, "file": submission.notebook.digest, "verdict": "graded"}
    return report if report and {**report, **decides, **submission.identity} == report else None


def kept_report(submission: Submission) -> dict[str, Any] | None:
    """Return the report of an earlier run, whatever has changed since."""
    report = _read_report(submission.folder)
    return report if report and report["name"] == submission.name else None


def reports_of_others(out: Path, current: set[Path]) -> list[dict[str, Any]]:
    """Return the reports of submissions that are gone, in the order of their names."""
    return [report for folder, report in reports_in(out) if folder not in current]


def reports_in(out: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return all reports with their folders, in the order of the names of their submissions."""
    reports = []
    for name, folders, files in os.walk(out):
        folder = Path(name)
        if folder != out and "grades.json" in files:  # grades of another run, inside this folder
            folders.clear()
        elif report := _read_report(folder):
            reports.append((folder, report))
    return sorted(reports, key=lambda found: str(found[1]["name"]))


def earlier_times(out: Path) -> dict[str, str]:
    """Return when the submissions of an earlier run were modified, by name, as its grades.json has it."""
    try:
        submissions = json.loads((out / "grades.json").read_text(encoding="utf-8"))["submissions"]
        return {entry["name"]: entry["modified"] for entry in submissions if "modified" in entry}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def remove_stale(out: Path, current: set[Path]) -> int:
    """Remove the reports of submissions that are gone, and empty folders; return the number of reports removed."""
    removed, names = 0, {str(folder).casefold() for folder in (out, *current)}  # some file systems ignore case
    for name, folders, files in os.walk(out):
        folder = Path(name)
        if folder != out and "grades.json" in files:  # grades of another run, inside this folder
            folders.clear()
        elif str(folder).casefold() not in names and _read_report(folder):
            for file in REPORT_FILES:
                (folder / file).unlink(missing_ok=True)
            removed += 1
            while folder != out and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
    return removed


def _read_report(folder: Path) -> dict[str, Any] | None:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and {"name", "verdict", "seed_id", "exercises"} <= set(report) else None


def sha256(*texts: str | bytes) -> str:
    """Return the SHA-256 of the concatenated texts, in hexadecimal."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() if isinstance(text, str) else text)
    return digest.hexdigest()
