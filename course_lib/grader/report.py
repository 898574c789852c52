"""Reports on submissions, and the tables of the class."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from course_lib.files import write_text
from course_lib.grader.render import with_code
from course_lib.grader.sentences import flag, no_code, notes, summary
from course_lib.grader.submission import GradedExercise, Submission


def exercise_entry(graded: GradedExercise) -> dict[str, Any]:
    """What a report says about one exercise; no number of the hidden cases is in it."""
    verdict, exercise = graded.verdict, graded.exercise
    passed, checks, reason = [], [], None
    if verdict is None:
        reason = no_code(exercise, graded.problem)
    elif verdict.started:
        passed = verdict.passed
        checks = [{"name": case.name, "passed": ok} for case, ok in zip(verdict.cases, passed, strict=True)]
    ended = graded.ended.outcome if graded.ended else None
    return {
        "title": exercise.title,
        "points": graded.points,
        "max_points": exercise.points,
        "outcome": graded.outcome,
        "ended": ended,
        "summary": summary(graded.outcome, passed, reason),
        "checks": checks,
        "mistake": verdict.mistake if verdict is not None else None,
        "diagnosis": verdict.diagnosis if verdict is not None else None,
        "notes": notes(graded.repeated, graded.replaced),
        "avoided": graded.avoided,
        "flags": [*graded.avoided, flag(ended)] if ended else graded.avoided,
        "see": exercise.see,
    }


def submission_report(submission: Submission, identity: dict[str, str], graded: list[GradedExercise]) -> dict[str, Any]:
    """The report on one file.

    Args:
        submission: The file.
        identity: What else decides the grade: seed, exercises, sandbox.
        graded: How each of its exercises did.
    """
    results = {g.exercise.id: exercise_entry(g) for g in graded}
    return {
        "name": submission.name,
        "lab": submission.lab or None,
        "verdict": "ungradable" if submission.reason else "graded",
        "reason": submission.reason,
        "points": round(sum(e["points"] for e in results.values()), 2),
        "max_points": sum(e["max_points"] for e in results.values()),
        "exercises": results,
        "file": submission.notebook.digest,
        **identity,
    }


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json and report.html; the JSON last, since its presence means that both are there."""
    page = template().render(report)
    page = page.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may be no valid text
    write_text(folder / "report.html", page, private=True)
    write_text(folder / "report.json", json.dumps(report, indent=1), private=True)


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


@functools.cache
def template() -> jinja2.Template:
    """The page of a report, compiled once."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["flag"] = flag
    environment.filters["code"] = with_code
    return environment.get_template("report.html")
