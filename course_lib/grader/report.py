"""Grades as files: a report for each submission, and the tables of the class."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.grader.folder import Entry
from course_lib.grader.render import with_code
from course_lib.grader.submission import ENDINGS, Graded

TABLES = ("grades.csv", "grades.json", "seed.json", "source.json")


def exercise_entry(graded: Graded) -> dict[str, Any]:
    """What a report says about one exercise; no number of the hidden cases is in it."""
    verdict, exercise = graded.verdict, graded.exercise
    checks: list[dict[str, Any]] = []
    mistake = diagnosis = None
    if verdict is None:
        summary = f"Not graded: {graded.problem}."
    elif not verdict.started:
        summary = "Not started yet."
    else:
        summary = "All checks passed."
        if not verdict:
            summary = f"{sum(verdict.passed)} of {len(verdict.passed)} checks passed."
        checks = [{"name": c.name, "passed": ok} for c, ok in zip(verdict.cases, verdict.passed, strict=True)]
        mistake, diagnosis = verdict.mistake, verdict.diagnosis
    return {
        "title": exercise.title,
        "points": graded.points,
        "max_points": exercise.points,
        "summary": summary,
        "checks": checks,
        "mistake": mistake,
        "diagnosis": diagnosis,
        "notes": graded.notes,
        "flags": graded.flags,
        "see": exercise.see,
    }


def submission_report(entry: Entry, identity: dict[str, str], graded: list[Graded]) -> dict[str, Any]:
    """The report on one file. identity: what else decides the grade (seed, exercises, sandbox)."""
    results = {g.exercise.id: exercise_entry(g) for g in graded}
    return {
        "name": entry.name,
        "lab": entry.lab or None,
        "verdict": "ungradable" if entry.reason else "graded",
        "reason": entry.reason,
        "points": round(sum(e["points"] for e in results.values()), 2),
        "max_points": sum(e["max_points"] for e in results.values()),
        "exercises": results,
        "file": entry.notebook.digest,
        **identity,
    }


def earlier_report(entry: Entry, identity: dict[str, str]) -> dict[str, Any] | None:
    """The report of an earlier run, if nothing has changed that decides the grade."""
    try:
        report = json.loads((entry.folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {**identity, "name": entry.name, "lab": entry.lab, "file": entry.notebook.digest, "verdict": "graded"}
    return report if all(report.get(key) == value for key, value in wanted.items()) else None


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json and report.html; the JSON last, since its presence means that both are there."""
    page = template().render(report)
    page = page.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may be no valid text
    write_text(folder / "report.html", page, private=True)
    write_text(folder / "report.json", json.dumps(report, indent=1), private=True)


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


def write_tables(out: Path, header: dict[str, Any], reports: Iterable[dict[str, Any]]) -> None:
    """Write grades.json and grades.csv for the class."""
    reports = list(reports)
    kept = ("points", "max_points", "mistake", "flags")
    rows = [
        {
            **{key: report[key] for key in ("name", "lab", "verdict", "reason")},
            "exercises": {id: {key: e[key] for key in kept} for id, e in report["exercises"].items()},
        }
        for report in reports
    ]
    write_text(out / "grades.json", json.dumps({**header, "submissions": rows}, indent=1), private=True)
    ids = list(dict.fromkeys(id for report in reports for id in report["exercises"]))
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["name", "lab", "verdict", "reason", "points", "max_points", *ids, "flags"])
    for report in reports:
        entries = report["exercises"]
        flags = "; ".join(f"{id}: {', '.join(e['flags'])}" for id, e in entries.items() if e["flags"])
        cells = [report["name"], report["lab"] or "", report["verdict"], report["reason"] or ""]
        points = [
            report["points"],
            report["max_points"],
            *(entries[id]["points"] if id in entries else "" for id in ids),
        ]
        writer.writerow([*map(harmless, cells), *points, harmless(flags)])
    write_text(out / "grades.csv", table.getvalue(), private=True)


def harmless(text: str) -> str:
    """Text that a spreadsheet will not take for a formula, on one line."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def report_folder(out: Path, name: str, taken: set[str]) -> Path:
    """A folder below `out` for a submission, which no name chosen by a student can make collide with another file."""
    reserved = (*TABLES, "report.json", "report.html")
    parts = [part + "_" if part.casefold().rstrip("_") in reserved else part for part in name.split("/")]
    folder = "/".join(parts)
    while folder.casefold() in taken:
        folder += "_"
    taken.add(folder.casefold())
    return out / folder


def sha256(*texts: str | bytes) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() if isinstance(text, str) else text)
    return digest.hexdigest()


@functools.cache
def template() -> jinja2.Template:
    """The page of a report, compiled once."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["endings"] = ENDINGS
    environment.filters["code"] = with_code
    return environment.get_template("report.html")
