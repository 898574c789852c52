"""Reports on submissions, and the tables of the class."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from course_lib.exercises import own
from course_lib.files import write_text
from course_lib.grader.diagnose import failure_sentence
from course_lib.grader.exam import Outcome, Result
from course_lib.grader.inside.outcomes import SLOW
from course_lib.grader.inside.shape import LONGEST
from course_lib.grader.render import address, with_code
from course_lib.grader.submission import Submission

# How a report came about, as grades.json has it; the seed and the sandbox are in its header.
MADE = ("hand_in", "course", "commit", "graded_at")


def exercise_entry(result: Result) -> dict[str, Any]:
    """Return the entry for one exercise in a report; it contains no numbers of the hidden cases."""
    ended = result.ended.outcome if result.ended else None
    return {
        "title": result.exercise.title,
        "points": result.points,
        "max_points": result.exercise.points,
        "outcome": result.outcome,
        "ended": ended,
        "summary": result.summary,
        "checks": [
            {"name": name, "passed": passed, "fresh": name in result.fresh} for name, passed in result.checks.items()
        ],
        "mistake": result.mistake,
        "diagnosis": result.diagnosis,
        "notes": result.notes,
        "ended_told": bool(result.ended and failure_sentence(result.ended) in (result.diagnosis or "")),
        "avoided": result.avoided,
        "flags": [*result.avoided, ended] if ended else result.avoided,
        "see": result.exercise.see,
        "answer": {"source": result.source[:LONGEST], "shape": result.shape},
    }


def reason(entry: dict[str, Any]) -> str | None:
    """Return in a line why an exercise has not all of its points: a known mistake, or else the report's diagnosis."""
    if entry["outcome"] == Outcome.PASSED:
        return None
    ended = f"; the code {entry['ended']}" if entry["ended"] else ""
    said = f"{entry['summary'].removesuffix('.')}{ended}."
    return entry["mistake"] or " ".join(filter(None, [said, entry["diagnosis"]]))


def submission_report(submission: Submission, results: list[Result]) -> dict[str, Any]:
    """Return the report on one file.

    Args:
        submission: The file.
        results: The result of each exercise.
    """
    entries = {result.exercise.id: exercise_entry(result) for result in results}
    return {
        "name": submission.name,
        "lab": submission.lab or None,
        "verdict": "ungradable" if submission.reason else "graded",
        "reason": submission.reason,
        "points": round(sum(entry["points"] for entry in entries.values()), 2),
        "max_points": sum(entry["max_points"] for entry in entries.values()),
        "exercises": entries,
        "file": submission.notebook.digest,
        **submission.identity,
    }


def was_slow(report: dict[str, Any]) -> bool:
    """Whether an exercise ran out of time by the clock, which may be the fault of a busy machine."""
    return any(entry["ended"] in SLOW for entry in report["exercises"].values())


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.html, then report.json, whose presence means that both are there."""
    write_page(folder, report)
    write_text(folder / "report.json", json.dumps(report, indent=1), private=True)


def write_page(folder: Path, report: dict[str, Any], standing: Sequence[str] = ()) -> None:
    """Write report.html, which is handed out, unless it is already there as it would be written.

    Args:
        folder: The folder of the report.
        report: The report.
        standing: Sentences about the student: who it is, what lateness costs, what the teacher wrote.
    """
    page = template().render(report, standing=standing, site=own.course().site)
    page = page.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files may be invalid UTF-8
    path = folder / "report.html"
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != page:
        write_text(path, page, private=True)


def write_tables(
    out: Path,
    header: dict[str, Any],
    reports: list[dict[str, Any]],
    entries: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Write grades.json and grades.csv for the class.

    Args:
        out: The folder of grades.
        header: What grades.json says of all submissions.
        reports: The report on each submission.
        entries: Where there is a roster: by the name of a submission whose it is, and whether it counts.
    """
    entries = entries or {}
    fields = ("name", "lab", "verdict", "reason")
    rows = []
    for report in reports:
        exercises = {
            id: {
                **{key: entry[key] for key in ("points", "max_points", "mistake", "flags", "notes")},
                "reason": reason(entry),
            }
            for id, entry in report["exercises"].items()
        }
        made = {key: report[key] for key in MADE if key in report}
        about = {**{key: report[key] for key in fields}, **made, **entries.get(report["name"], {})}
        rows.append({**about, "exercises": exercises})
    write_text(out / "grades.json", json.dumps({**header, "submissions": rows}, indent=1), private=True)
    ids = list(dict.fromkeys(id for report in reports for id in report["exercises"]))
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_NONNUMERIC)
    whose = ["student", "counts"] if entries else []
    writer.writerow([*fields, *whose, "points", "max_points", *ids, "flags"])
    for report in reports:
        exercises = report["exercises"]
        flags = "; ".join(f"{id}: {', '.join(e['flags'])}" for id, e in exercises.items() if e["flags"])
        texts = [harmless(report[key] or "") for key in fields]
        if entry := entries.get(report["name"]):
            texts += [harmless(entry["student"] or ""), "yes" if entry["counts"] else "no"]
        points = [exercises[id]["points"] if id in exercises else "" for id in ids]
        writer.writerow([*texts, report["points"], report["max_points"], *points, harmless(flags)])
    write_text(out / "grades.csv", table.getvalue(), private=True)


def harmless(text: str) -> str:
    """Return a text on one line that a spreadsheet will not take for a formula."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


@functools.cache
def template(page: str = "report.html") -> jinja2.Template:
    """Return the template of a page, by default a report, compiled once."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["code"] = with_code
    environment.filters["address"] = address
    return environment.get_template(page)
