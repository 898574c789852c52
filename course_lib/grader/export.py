"""Grades as the gradebooks of Canvas and Moodle import them, and the reports to hand out, in one zip.

All is made from what `course grade --roster` wrote.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.files import write_bytes, write_text
from course_lib.grader.grades_folder import reports_in
from course_lib.grader.roster import Roster, Student, Table, late_columns, read_table
from course_lib.grader.students import TABLE, alike, as_written, less_penalty, number, safe, same_id, shown

TARGETS = ("canvas", "moodle", "reports")
MANUAL = "manual"
POSSIBLE = "    Points Possible"  # with the four spaces that Canvas writes before it


@dataclass(frozen=True)
class Grades:
    """The grades of a class.

    Attributes:
        table: students.csv.
        labs: The labs with a column in it.
        max_points: The points of each lab.
        feedback: What there is to say about a lab that counts, by the student's id and the lab.
    """

    table: Table
    labs: list[str]
    max_points: dict[str, float]
    feedback: dict[tuple[str, str], str]


def export(out: Path, to: str, file: Path, titles: list[str]) -> list[str]:
    """Write the grades of a class as a gradebook imports them.

    Args:
        out: The folder of grades.
        to: "canvas", "moodle" or "reports".
        file: The file to write: CSV for a gradebook, a zip of reports.
        titles: "LAB=TITLE" for each lab whose column has another name in the gradebook.

    Returns:
        Sentences about what was written.

    Raises:
        CourseError: If there are no such grades, or the file cannot be written.
    """
    if to not in TARGETS:
        raise CourseError(f"--to is canvas, moodle or reports, not {to!r}")
    if to == "reports":
        return zip_reports(out, file)
    grades = read_grades(out)
    names = _titles(titles, grades.labs)
    if file.resolve().parent == out.resolve() and file.name in ("grades.csv", TABLE):
        raise CourseError(f"{file} is a table of the grader itself; choose another name with --out")
    rows = canvas(grades, names) if to == "canvas" else moodle(grades, names)
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    try:
        write_text(file, content.getvalue(), private=True)
    except OSError as error:
        raise CourseError(f"{file} cannot be written: {error.strerror}; close it or choose another --out") from error
    said = [f"Students: {len(grades.table.rows)}, labs: {len(grades.labs)}, in {file}"]
    extra = [MANUAL] if any(number(row.get(MANUAL, "")) for row in grades.table.rows) else []
    if to == "canvas" and (without := [item for item in (*grades.labs, *extra) if names[item] == item]):
        said.append(f"Without a --title: {', '.join(without)}. Canvas offers to make a new assignment of each.")
    if to == "canvas" and (comments := sum(bool(row.get("comment")) for row in grades.table.rows)):
        said.append(f"Canvas imports no comments: {comments} of them are in {out / TABLE} alone.")
    return said


def zip_reports(out: Path, file: Path) -> list[str]:
    """Write a zip of the reports that belong to a student, each where its submission was: `ana/attention.html`.

    So a platform that takes feedback in the folders in which it gave the submissions finds whose each is.

    Raises:
        CourseError: If there are no grades, or the file cannot be written.
    """
    try:
        submissions = json.loads((out / "grades.json").read_text(encoding="utf-8"))["submissions"]
        students = {entry["name"]: entry.get("student") for entry in submissions}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"there are no grades in {out}; run course grade with --roster first") from error
    content, n = io.BytesIO(), 0
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, report in reports_in(out):
            if students.get(report["name"]):
                name = f"{report['name']}.html".encode("utf-8", "backslashreplace").decode("utf-8")
                archive.writestr(name, (folder / "report.html").read_bytes())
                n += 1
    if not n:
        raise CourseError(f"no report in {out} belongs to a student; run course grade with --roster first")
    try:
        write_bytes(file, content.getvalue(), private=True)
    except OSError as error:
        raise CourseError(f"{file} cannot be written: {error.strerror}; choose another --out") from error
    return [f"Reports: {n}, in {file}"]


def _titles(titles: list[str], labs: list[str]) -> dict[str, str]:
    names = {lab: lab for lab in (*labs, MANUAL)}
    for text in titles:
        lab, equals, title = text.partition("=")
        if not equals or not title.strip():
            raise CourseError(f"--title is LAB=TITLE, such as 'ch01_attention=Attention (123)', not {text!r}")
        if lab not in names:
            raise CourseError(f"--title: {TABLE} has no lab called {lab!r}; it has {', '.join(labs) or 'none'}")
        names[lab] = title.strip()
    return names


def read_grades(out: Path) -> Grades:
    """Read what `course grade --roster` wrote, with what a teacher wrote into it since.

    Raises:
        CourseError: If it is not there, or a cell of points is no number.
    """
    if not (out / TABLE).exists():
        raise CourseError(f"there is no {out / TABLE}; run course grade with --roster first")
    table = read_table(out / TABLE)
    labs = [name for name in table.columns if name in exercises.labs()]
    if not labs:
        raise CourseError(f"no lab has points in {out / TABLE}; look at what course grade said of the submissions")
    written = as_written(out)
    roster = Roster({id: Student(id, "", "") for id in written}, [])
    for row in table.rows:  # a spreadsheet takes the zeros from 00123
        row["id"] = same_id(row["id"], roster)
        before = written.get(row["id"], {})
        row.update({name: before[name] for name in row if name in before and alike(row[name], before[name])})
    for row, line in zip(table.rows, table.lines, strict=True):
        if not row["id"]:
            raise CourseError(f"{out / TABLE}, line {line}: the id is empty; give it, or remove the line")
        for name in (*labs, *(late_columns(lab)[1] for lab in labs), MANUAL):
            if number(row.get(name, "")) is None:
                raise CourseError(
                    f"{out / TABLE}, line {line}: {name} is {row[name]!r}, which is no number; correct it"
                )
    try:
        submissions = json.loads((out / "grades.json").read_text(encoding="utf-8"))["submissions"]
        counting = [entry for entry in submissions if entry.get("counts")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"{out / 'grades.json'} cannot be read; run course grade with --roster again") from error
    max_points = dict.fromkeys(labs, 0.0)  # as they were graded: course.toml may say otherwise by now
    for entry in counting:
        most = float(sum(result["max_points"] for result in entry["exercises"].values()))
        max_points[entry["lab"]] = max(most, max_points.get(entry["lab"], 0.0))
    return Grades(table, labs, max_points, {(entry["student"], entry["lab"]): _feedback(entry) for entry in counting})


def _feedback(entry: dict[str, Any]) -> str:
    parts = []
    for id, result in entry["exercises"].items():
        points = f"{id} {shown(result['points'])}/{shown(result['max_points'])}"
        reason = result.get("reason") or result["mistake"]  # grades of an earlier version have no reason
        parts.append(f"{points} ({reason})" if reason else points)
    if entry.get("penalty"):
        parts.append(f"late, which costs {shown(entry['penalty'])}")
    return "; ".join(parts)


def _of_column(table: Table, *names: str) -> str | None:
    """Return the column of the roster that has one of these names, however it is cased or spaced."""
    plain = {"".join(c for c in column.casefold() if c.isalnum()): column for column in table.columns}
    return next((plain[name] for name in names if name in plain), None)


def canvas(grades: Grades, names: dict[str, str]) -> list[list[str]]:
    """Return the rows of a gradebook as Canvas imports it.

    Canvas finds a student by its own number, then the SIS user id, then the login, then the name. A lab that was not
    handed in is an empty cell.
    """
    table = grades.table
    own, login = _of_column(table, "canvasid"), _of_column(table, "sisloginid", "loginid", "login")
    sis = _of_column(table, "sisuserid", "sisid")
    extra = [MANUAL] if any(number(row.get(MANUAL, "")) for row in table.rows) else []
    items = [*grades.labs, *extra]
    who = ["Student", "ID", *(["SIS User ID"] if sis else []), "SIS Login ID", "Section"]
    possible = [*(shown(grades.max_points[lab]) for lab in grades.labs), *("0" for _ in extra)]
    rows = [[*who, *(safe(names[item]) for item in items)]]
    rows.append([POSSIBLE, *[""] * (len(who) - 1), *possible])
    for row in table.rows:
        ids = [row[own] if own else "", *([row[sis]] if sis else []), row[login] if login else row["id"]]
        rows.append(
            [
                safe(row["name"]),
                *map(safe, ids),
                safe(row.get("group", "")),
                *(less_penalty(row, item) for item in items),
            ]
        )
    return rows


def moodle(grades: Grades, names: dict[str, str]) -> list[list[str]]:
    """Return the rows of a table of grades as Moodle imports it: Moodle asks which column is which.

    A lab that was not handed in is "-", which Moodle takes for no grade, in new and in existing columns.
    """
    table = grades.table
    mail = _of_column(table, "email", "emailaddress", "mail")
    extra = [MANUAL] if any(row.get(MANUAL) or row.get("comment") for row in table.rows) else []
    header = ["ID number", *(["Email address"] if mail else [])]
    for item in (*grades.labs, *extra):
        header += [safe(names[item]), safe(f"{names[item]} (feedback)")]
    rows = [header]
    for row in table.rows:
        cells = [safe(row["id"]), *([safe(row[mail])] if mail else [])]
        for item in (*grades.labs, *extra):
            said = row.get("comment", "") if item == MANUAL else grades.feedback.get((row["id"], item), "")
            cells += [less_penalty(row, item) or "-", safe(said)]
        rows.append(cells)
    return rows
