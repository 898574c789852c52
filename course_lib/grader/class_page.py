"""The page of a class, class.html: how each exercise went, the common mistakes, and who is stuck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from course_lib import exercises
from course_lib.files import write_text
from course_lib.grader.exam import Outcome
from course_lib.grader.report import template
from course_lib.grader.similarity import MOST_GROUPS, alike, in_groups

PAGE = "class.html"
COMMON = 3  # the largest number of mistakes, and of other reasons, that are told for an exercise
BINS = 10  # of the distribution of points
UNTOUCHED = (Outcome.NOT_STARTED, Outcome.NOT_ATTEMPTED)


def write_class_page(
    out: Path,
    reports: Sequence[dict[str, Any]],
    folders: Mapping[str, Path],
    entries: Mapping[str, dict[str, Any]] | None = None,
    missing: Mapping[str, Sequence[str]] | None = None,
    similarity: bool = True,
    labels: Mapping[str, str] | None = None,
    nobodys: Sequence[str] = (),
    lacking: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write class.html, one file that needs no network.

    Args:
        out: The folder of grades.
        reports: The report on each submission.
        folders: The folder of each report, by the name of the submission.
        entries: Where there is a roster: by the name of a submission whose it is, and whether it counts.
        missing: The students who have handed in no notebook, and their other files.
        similarity: Whether to show which answers are alike.
        labels: What each student is called on the page, by id; the id itself where nothing else is known.
        nobodys: A sentence about each submission that belongs to no student.
        lacking: The students who have no points in a lab, by lab.
    """
    labels = labels or {}
    students = {name: labels.get(entry["student"], entry["student"]) for name, entry in (entries or {}).items()}
    links = {name: quote(f"{folder.relative_to(out)}/report.html") for name, folder in folders.items()}
    graded = [report for report in reports if report["verdict"] == "graded"]
    if entries:
        graded = [report for report in graded if entries[report["name"]]["counts"]]
    by_lab = {lab: [report for report in graded if report["lab"] == lab] for lab in exercises.labs()}
    page = template(PAGE).render(
        labs={
            lab: {**_lab(some, students), **(_alike(lab, some, students) if similarity else {})}
            for lab, some in by_lab.items()
            if some
        },
        links=links,
        ungradable=[report for report in reports if report["verdict"] != "graded"],
        nobodys=nobodys,
        lacking={lab: [labels.get(id, id) for id in ids] for lab, ids in (lacking or {}).items()},
        missing={labels.get(id, id): files for id, files in (missing or {}).items()},
    )
    write_text(out / PAGE, page.encode("utf-8", "backslashreplace").decode("utf-8"), private=True)


def _lab(reports: list[dict[str, Any]], students: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what the page says of a lab: the distribution of points, each exercise, and who is stuck."""
    shares = [report["points"] / report["max_points"] for report in reports]
    bins = Counter(min(int(BINS * share), BINS - 1) for share in shares)
    ids = list(dict.fromkeys(id for report in reports for id in report["exercises"]))
    return {
        "n": len(reports),
        "max_points": max(report["max_points"] for report in reports),
        "mean": sum(shares) / len(shares),
        "bins": [bins[i] for i in range(BINS)],
        "exercises": {id: _exercise([r["exercises"][id] for r in reports if id in r["exercises"]]) for id in ids},
        "stuck": [
            {
                "name": report["name"],
                "student": students.get(report["name"]),
                "points": report["points"],
                "at": [e["title"] for e in report["exercises"].values() if _is_failed(e)],
            }
            for report in sorted(reports, key=lambda report: (report["points"], report["name"]))
            if sum(map(_is_failed, report["exercises"].values())) * 2 >= len(report["exercises"])
        ],
    }


def _alike(lab: str, reports: list[dict[str, Any]], students: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the groups of answers that are alike, and how many more there are than the page shows.

    Of a group, the two answers that are most alike stand side by side, and the others are named.
    """
    groups = in_groups(alike(lab, exercises.of_lab(lab), reports))
    by_name = {report["name"]: report for report in reports}
    shown = []
    for group in groups[:MOST_GROUPS]:
        pair = group[0]
        of_pair = [by_name[name]["exercises"][pair.exercise] for name in pair.names]
        others = sorted({name for other in group for name in other.names} - {*pair.names})
        shown.append(
            {
                "title": of_pair[0]["title"],
                "share": pair.share,
                "sides": [
                    {"name": name, "student": students.get(name), "source": entry["answer"]["source"]}
                    for name, entry in zip(pair.names, of_pair, strict=True)
                ],
                "others": [{"name": name, "student": students.get(name)} for name in others],
            }
        )
    return {"alike": shown, "more_alike": len(groups) - len(shown)}


def _is_failed(entry: dict[str, Any]) -> bool:
    """Whether an exercise was tried and not passed."""
    return entry["outcome"] not in (Outcome.PASSED, Outcome.NOT_MARKED, *UNTOUCHED)


def _exercise(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page says of an exercise, from its entry in each report."""
    outcomes = Counter(
        "full"
        if entry["outcome"] == Outcome.PASSED
        else "untouched"
        if entry["outcome"] in UNTOUCHED
        else "part"
        if entry["points"]
        else "none"
        for entry in entries
    )
    mistakes = Counter(entry["mistake"] for entry in entries if entry["mistake"])
    ended = [entry for entry in entries if entry["ended"]]
    # Of a diagnosis that says how the code ended, the end is told alone.
    failed = [entry for entry in entries if _is_failed(entry) and not entry.get("ended_told")]
    unnamed = [entry for entry in failed if not entry["mistake"]]
    return {
        "title": entries[0]["title"],
        "max_points": entries[0]["max_points"],
        "n": len(entries),
        "mean": sum(entry["points"] for entry in entries) / sum(entry["max_points"] for entry in entries),
        **{name: outcomes[name] for name in ("full", "part", "none", "untouched")},
        "mistakes": mistakes.most_common(COMMON),
        "unmarked": sum(entry["outcome"] == Outcome.NOT_MARKED for entry in entries),
        "unnamed": len(unnamed),
        "unnamed_said": Counter(entry["diagnosis"] or entry["summary"] for entry in unnamed).most_common(COMMON),
        "ended": Counter(entry["ended"] for entry in ended).most_common(),
        "avoided": Counter(name for entry in entries for name in entry["avoided"]).most_common(),
    }
