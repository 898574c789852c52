"""Grades as the gradebooks of Canvas and Moodle import them, and the reports to hand out, in one zip.

All is made from what `course grade --roster` wrote.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.files import write_bytes, write_text
from course_lib.grader.grades_folder import reports_in
from course_lib.grader.roster import (
    FILLED,
    CsvTable,
    Roster,
    Student,
    columns_of,
    hand_columns,
    late_columns,
    read_table,
)
from course_lib.grader.students import (
    COUNTED,
    OF_NO_LAB,
    TABLE,
    alike,
    as_written,
    mark,
    named,
    number,
    points_by_hand,
    safe,
    same_id,
    shown,
    without_points,
)

TARGETS = ("canvas", "moodle", "reports", "missing")
MANUAL, COMMENT = OF_NO_LAB
NO_NOTEBOOK = "{} is no notebook; hand in the .ipynb itself"
NO_GRADE = {
    "canvas": "An empty cell is no grade for Canvas: not a 0, and left out of the score so far.",
    "moodle": "The cell is -, which is no grade for Moodle.",
}
POSSIBLE = "    Points Possible"  # with the four spaces that Canvas writes before it


@dataclass(frozen=True)
class Grades:
    """The grades of a class.

    Attributes:
        table: students.csv.
        labs: The labs with a column in it.
        max_points: The points of each lab.
        feedback: What there is to say about a lab, by the student's id and the lab: also why a file has no grade.
    """

    table: CsvTable
    labs: list[str]
    max_points: dict[str, float]
    feedback: dict[tuple[str, str], str]


def export(out: Path, to: str, file: Path, titles: list[str], missing: list[str] | None = None) -> list[str]:
    """Write the grades of a class as a gradebook imports them.

    Args:
        out: The folder of grades.
        to: "canvas", "moodle", "reports", or "missing" for who has no grade in which lab.
        file: The file to write: CSV for a gradebook or for those who are missing, a zip of reports.
        titles: "LAB=TITLE" for each lab whose column has another name in the gradebook.
        missing: What to write where a lab has no grade: "0", or "EX" for Canvas; "LAB=0" for one lab.

    Returns:
        Sentences about what was written.

    Raises:
        CourseError: If there are no such grades, or the file cannot be written.
    """
    if to not in TARGETS:
        raise CourseError(f"--to is canvas, moodle, reports or missing, not {to!r}")
    if to in ("reports", "missing") and missing:
        raise CourseError(f"--missing is for canvas and moodle; what --to {to} writes has no such cells")
    if to == "reports":
        return zip_reports(out, file)
    grades = read_grades(out)
    names = _titles(titles, grades.labs)
    if file.resolve().parent == out.resolve() and file.name in ("grades.csv", TABLE):
        raise CourseError(f"{file} is a table of the grader itself; choose another name with --out")
    if to == "missing":
        _write_csv(file, who_is_missing(grades, names))
        lacking = without_points(grades.table.rows, grades.labs)
        told = (f"{lab}: {f'no grade for {named(ids)}' if ids else 'all have a grade'}" for lab, ids in lacking.items())
        return [*told, f"All, and why: {file}"]
    fill = _fill(missing or [], grades.labs, to)
    _write_csv(file, canvas(grades, names, fill) if to == "canvas" else moodle(grades, names, fill))
    said = [f"Students: {len(grades.table.rows)}, labs: {len(grades.labs)}, in {file}"]
    extra = [MANUAL] if any(number(row.get(MANUAL, "")) for row in grades.table.rows) else []
    if to == "canvas" and (without := [item for item in (*grades.labs, *extra) if names[item] == item]):
        said.append(f"Without a --title: {', '.join(without)}. Canvas offers to make a new assignment of each.")
    empty = sum(not mark(row, lab) for row in grades.table.rows for lab in grades.labs if lab not in fill)
    if empty:
        cells = "1 cell has" if empty == 1 else f"{empty} cells have"
        said.append(
            f"{cells} no grade: nothing was handed in, or nothing that can be graded. {NO_GRADE[to]} --missing 0 "
            "writes 0 there, and --to missing lists who they are."
        )
    columns = [COMMENT, *(hand_columns(lab)[1] for lab in grades.labs)]
    if to == "canvas" and (comments := sum(bool(row.get(name)) for row in grades.table.rows for name in columns)):
        said.append(f"Canvas imports no comments: {comments} of them are in {out / TABLE} alone.")
    return said


def _write_csv(file: Path, rows: list[list[str]]) -> None:
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    try:
        write_text(file, content.getvalue(), private=True)
    except OSError as error:
        raise CourseError(f"{file} cannot be written: {error.strerror}; close it or choose another --out") from error


def who_is_missing(grades: Grades, names: dict[str, str]) -> list[list[str]]:
    """Return the rows of a table of all who have no grade in a lab: nothing was handed in, or nothing to be graded.

    It has the columns of the roster, such as an address to write to, and why.
    """
    of_labs = {name for lab in grades.labs for name in columns_of(lab)}
    roster = [name for name in grades.table.columns if name and name not in {*of_labs, *FILLED}]
    rows = [["lab", *roster, "why"]]
    for lab in grades.labs:
        for row in grades.table.rows:
            if not mark(row, lab):
                why = grades.feedback.get((row["id"], lab)) or "nothing handed in"
                rows.append([*map(safe, (names[lab], *(row[name] for name in roster), why))])
    return rows


def zip_reports(out: Path, file: Path) -> list[str]:
    """Write a zip of the reports that belong to a student, each where its submission was: `ana/attention.html`.

    So a platform that takes feedback in the folders in which it gave the submissions finds whose each is. A file that
    is no notebook has a text instead, `ana/homework.zip.txt`.

    Raises:
        CourseError: If there are no grades, or the file cannot be written.
    """
    try:
        graded = json.loads((out / "grades.json").read_text(encoding="utf-8"))
        students = {entry["name"]: entry.get("student") for entry in graded["submissions"]}
        others = [name for names in graded.get("no_notebooks", {}).values() for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"there are no grades in {out}; run course grade with --roster first") from error
    content, n = io.BytesIO(), 0
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, report in reports_in(out):
            if students.get(report["name"]):
                name = f"{report['name']}.html".encode("utf-8", "backslashreplace").decode("utf-8")
                archive.writestr(name, (folder / "report.html").read_bytes())
                n += 1
        for other in others:
            name = f"{other}.txt".encode("utf-8", "backslashreplace").decode("utf-8")
            archive.writestr(
                name, f"Not graded: {NO_NOTEBOOK.format(other.rpartition('/')[2])}.\n".encode(errors="replace")
            )
            n += 1
        remarks = list(_to_members(out, graded["submissions"]))
        for name, text in remarks:
            archive.writestr(name, text)
    if not n:
        raise CourseError(f"no report in {out} belongs to a student; run course grade with --roster first")
    try:
        write_bytes(file, content.getvalue(), private=True)
    except OSError as error:
        raise CourseError(f"{file} cannot be written: {error.strerror}; choose another --out") from error
    more = f", and {len(remarks)} with your remarks alone" if remarks else ""
    return [f"Reports: {n}{more}, in {file}"]


def _to_members(out: Path, submissions: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of a file for what a teacher wrote to a student, where no report says it.

    A report of a group leaves it out, and a student who handed nothing in has no report.
    """
    told = {
        (id, entry["lab"])
        for entry in submissions
        for id in _members(entry)
        if len(_members(entry)) == 1 and (entry.get("counts") or entry["verdict"] != "graded")
    }
    rows = read_grades(out).table.rows if (out / TABLE).exists() else []
    for lab in exercises.labs():
        for row in rows:
            if (row["id"], lab) not in told and (said := _of_teacher(row, lab)):
                name = re.sub(r"[^\w.-]", "_", row["id"])
                yield f"{name} {lab}.txt", f"{lab}: {'; '.join(said)}\n"


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


def _fill(texts: list[str], labs: list[str], to: str) -> dict[str, str]:
    """Return what is written where a lab has no grade, by lab."""
    fill = {}
    for text in texts:
        lab, equals, value = text.rpartition("=")
        value = value.strip().upper()
        if equals and lab not in labs:
            raise CourseError(f"--missing: {TABLE} has no lab called {lab!r}; it has {', '.join(labs)}")
        if value != "0" and (value, to) != ("EX", "canvas"):
            raise CourseError(f"--missing is 0, or EX (excused) for canvas, or LAB=0 for one lab; not {text!r}")
        fill.update(dict.fromkeys([lab] if equals else labs, value))
    return fill


def read_grades(out: Path) -> Grades:
    """Read what `course grade --roster` wrote, with what a teacher wrote into it since.

    Raises:
        CourseError: If it is not there, or a cell of points is no number.
    """
    if not (out / TABLE).exists():
        raise CourseError(f"there is no {out / TABLE}; run course grade with --roster first")
    table = read_table(out / TABLE)
    labs = [lab for lab in exercises.labs() if {lab, hand_columns(lab)[0]} & set(table.columns)]
    if not labs:
        raise CourseError(f"no lab has points in {out / TABLE}; look at what course grade said of the submissions")
    written = as_written(out)
    roster = Roster({id: Student(id, "", "") for id in written}, [])
    for row in table.rows:  # a spreadsheet takes the zeros from 00123
        row["id"] = same_id(row["id"], roster)
        before = written.get(row["id"], {})
        row.update({name: before[name] for name in row if name in before and alike(row[name], before[name])})
        for lab in labs:  # as long as the teacher has written nothing new
            counted = f"{lab} {COUNTED}"
            if counted in before and all(row.get(name, "") == before.get(name, "") for name in hand_columns(lab)):
                row[counted] = before[counted]
    for row, line in zip(table.rows, table.lines, strict=True):
        if not row["id"]:
            raise CourseError(f"{out / TABLE}, line {line}: the id is empty; give it, or remove the line")
        of_labs = (name for lab in labs for name in (lab, late_columns(lab)[1], hand_columns(lab)[0]))
        for name in (*of_labs, MANUAL):
            if number(row.get(name, "")) is None:
                raise CourseError(
                    f"{out / TABLE}, line {line}: {name} is {row[name]!r}, which is no number; correct it"
                )
    try:
        graded = json.loads((out / "grades.json").read_text(encoding="utf-8"))
        submissions, others = graded["submissions"], dict(graded.get("no_notebooks", {}))
        counting = [entry for entry in submissions if entry.get("counts")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"{out / 'grades.json'} cannot be read; run course grade with --roster again") from error
    max_points = dict[str, float]()  # as they were graded: course.toml may say otherwise by now
    for entry in counting:
        most = float(sum(result["max_points"] for result in entry["exercises"].values()))
        max_points[entry["lab"]] = max(most, max_points.get(entry["lab"], 0.0))
    for lab in set(labs) - set(max_points):  # it has points by hand alone
        max_points[lab] = float(sum(exercise.points for exercise in exercises.of_lab(lab)))
    return Grades(table, labs, max_points, _all_feedback(table, labs, submissions, others))


def _all_feedback(
    table: CsvTable, labs: list[str], submissions: list[dict[str, Any]], others: dict[str, list[str]]
) -> dict[tuple[str, str], str]:
    """Return what there is to say about each lab of each student, by the student's id and the lab."""
    counting = [entry for entry in submissions if entry.get("counts")]
    feedback = {(id, entry["lab"]): _feedback(entry) for entry in counting for id in _members(entry)}
    missing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for student, lab, sentence in _not_graded(submissions, others):
        for each in [lab] if lab else labs:
            if (student, each) not in feedback:
                missing[student, each].append(sentence)
    feedback |= {key: "; ".join(sentences) for key, sentences in missing.items()}
    for row in table.rows:
        for lab in labs:
            said = [feedback.get((row["id"], lab), ""), *_of_teacher(row, lab)]
            feedback[row["id"], lab] = "; ".join(filter(None, said))
    return feedback


def _not_graded(submissions: list[dict[str, Any]], others: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield the student, the lab and a sentence for each file without a grade; "" for a lab that is not known."""
    for entry in submissions:
        if entry["verdict"] != "graded" and entry.get("student"):
            name = f"{entry['name'].rpartition('/')[2]}.ipynb"
            yield entry["student"], entry["lab"] or _named(entry["name"]), f"not graded: {name}: {entry['reason']}"
    for student, names in others.items():
        for name in names:
            yield student, _named(name), f"not graded: {NO_NOTEBOOK.format(name.rpartition('/')[2])}"


def _members(entry: dict[str, Any]) -> list[str]:
    """Return the ids of all for whom a submission counts; grades of an earlier version know one."""
    return entry.get("members") or [entry["student"]]


def _named(path: str) -> str:
    """Return the lab whose name is in a path, or an empty text if none is, or more than one."""
    found = [lab for lab in exercises.labs() if lab.casefold() in path.casefold()]
    return found[0] if len(found) == 1 else ""


def _of_teacher(row: dict[str, str], lab: str) -> list[str]:
    comment = row.get(hand_columns(lab)[1], "")
    points = points_by_hand(row, lab)
    return [*([f"{shown(points)} by hand"] if points else []), *([comment] if comment else [])]


def _feedback(entry: dict[str, Any]) -> str:
    parts = []
    for id, result in entry["exercises"].items():
        points = f"{id} {shown(result['points'])}/{shown(result['max_points'])}"
        reason = result.get("reason") or result["mistake"]  # grades of an earlier version have no reason
        said = [*([reason] if reason else []), *result.get("notes", [])]
        parts.append(f"{points} ({' '.join(said)})" if said else points)
    if entry.get("penalty"):
        parts.append(f"late, which costs {shown(entry['penalty'])}")
    return "; ".join(parts)


def _of_column(table: CsvTable, *names: str) -> str | None:
    """Return the column of the roster that has one of these names, however it is cased or spaced."""
    plain = {"".join(c for c in column.casefold() if c.isalnum()): column for column in table.columns}
    return next((plain[name] for name in names if name in plain), None)


def canvas(grades: Grades, names: dict[str, str], fill: dict[str, str]) -> list[list[str]]:
    """Return the rows of a gradebook as Canvas imports it.

    Canvas finds a student by its own number, then the SIS user id, then the login, then the name. A lab without a grade
    is an empty cell, unless `fill` says otherwise. Canvas takes it for no grade: if it has one, the import lists the
    cell as a change, and takes the grade away (canvas-lms, lib/gradebook_importer.rb).
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
                *(mark(row, item) or fill.get(item, "") for item in items),
            ]
        )
    return rows


def moodle(grades: Grades, names: dict[str, str], fill: dict[str, str]) -> list[list[str]]:
    """Return the rows of a table of grades as Moodle imports it: Moodle asks which column is which.

    A lab without a grade is "-", which Moodle takes for no grade, in new and in existing columns.
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
            cells += [mark(row, item) or fill.get(item, "-"), safe(said)]
        rows.append(cells)
    return rows
