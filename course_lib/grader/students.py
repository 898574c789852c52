"""Students instead of files: which version of a lab counts, and students.csv, in which a teacher may write."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.files import write_bytes, write_text
from course_lib.grader.deadlines import Deadlines, shown_late
from course_lib.grader.exam import Outcome
from course_lib.grader.report import harmless
from course_lib.grader.roster import FILLED, REQUIRED, Roster, late_columns, read_table

COUNTS = ("latest", "best")
TEACHERS = ("manual", "comment")
TABLE, WRITTEN = "students.csv", "students.json"


@dataclass(frozen=True)
class Class:
    """What the command line says about the students.

    Attributes:
        roster: Who they are.
        count: Which of several versions of a lab counts: "latest" or "best".
        only: The id of the only student whose files are graded; None for all.
        deadlines: When the labs are due; None if that does not matter.
        options: The options that hold, to be kept for the next run.
    """

    roster: Roster
    count: str = "latest"
    only: str | None = None
    deadlines: Deadlines | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count not in COUNTS:
            raise CourseError(f"--count is latest or best, not {self.count!r}")
        if self.only is not None:
            id = self.roster.find(self.only)
            if id is None:
                raise CourseError(
                    f"--only: the roster has no student with the id {self.only!r}; give an id as it is there"
                )
            object.__setattr__(self, "only", id)

    def owner(self, name: str) -> str | None:
        """Return the id of the student whose submission this is, or None."""
        owners = self.roster.owners(name)
        return owners[0] if len(owners) == 1 else None

    def is_chosen(self, name: str) -> bool:
        """Whether `--only` names the student whose submission this is."""
        return self.only is not None and self.owner(name) == self.only

    def other_files(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return which of these files, all no notebooks, are of each student; hidden ones are left out."""
        found = defaultdict(list)
        for name in names:
            if not name.rpartition("/")[2].startswith(".") and (id := self.owner(name)):
                found[id].append(name)
        return found

    def entries(self, reports: Iterable[dict[str, Any]], modified: dict[str, str]) -> dict[str, dict[str, Any]]:
        """Return for each submission whose it is, whether it counts, and with deadlines how late it is.

        Args:
            reports: The reports on the submissions. Of versions that are equally good the latest counts, and of those
                that are as late the last by name.
            modified: When each file was modified, by the name of the submission.
        """
        reports = list(reports)
        # When the same notebook was handed in, by student and content: it is as late as the first time.
        times: dict[tuple[str, str], list[str]] = defaultdict(list)
        for report in reports:
            if (owner := self.owner(report["name"])) and (time := modified.get(report["name"])):
                times[owner, report["file"]].append(time)
        entries: dict[str, dict[str, Any]] = {}
        counting: dict[tuple[str, str], tuple[float, str, str]] = {}
        for report in reports:
            name, owners = report["name"], self.roster.owners(report["name"])
            entries[name] = {"student": None, "modified": modified.get(name, ""), "counts": False}
            if len(owners) != 1:
                entries[name]["candidates"] = owners
                continue
            entries[name]["student"] = owners[0]
            if report["verdict"] == "graded":
                points = report["points"]
                if self.deadlines and self.deadlines.apply_to(report["lab"]):
                    handed_in = min(times[owners[0], report["file"]], default="")
                    late = self.deadlines.late(owners[0], report["lab"], handed_in)
                    penalty = self.deadlines.penalty(late, points, report["max_points"])
                    entries[name] |= {"late_seconds": math.ceil(late.total_seconds()), "penalty": penalty}
                    points -= penalty
                rank = (points if self.count == "best" else 0.0, entries[name]["modified"], name)
                lab = owners[0], report["lab"]
                counting[lab] = max(rank, counting.get(lab, rank))
        for _, _, name in counting.values():
            entries[name]["counts"] = True
        return entries


def modified_at(path: Path) -> str:
    """Return when a file was modified: texts that sort by time."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="microseconds")
    except (OSError, OverflowError, ValueError):
        return ""


def unmarked(report: dict[str, Any]) -> list[str]:
    """Return a sentence about each exercise whose answer is in the notebook, but in no cell with its mark."""
    return [entry["summary"] for entry in report["exercises"].values() if entry["outcome"] == Outcome.NOT_MARKED]


def unassigned(entries: dict[str, dict[str, Any]]) -> list[str]:
    """Return a sentence about each submission that belongs to no student."""
    sentences = []
    for name, entry in entries.items():
        if entry["student"] is None:
            why = (
                f"{' or '.join(entry['candidates'])}?" if entry["candidates"] else "no id of the roster is in its path"
            )
            sentences.append(f"{harmless(name)}: {harmless(why)}")
    return sentences


@dataclass
class Earlier:
    """The students.csv that is there, with what a teacher wrote into it.

    Attributes:
        content: The file, or None.
        rows: Its rows by id.
        added: The names of columns that a teacher added.
        written: The rows as they were written by this command, by id.
    """

    content: bytes | None
    rows: dict[str, dict[str, str]]
    added: list[str]
    written: dict[str, dict[str, str]]


def read_earlier(out: Path, roster: Roster) -> Earlier:
    """Read students.csv back before it is written again.

    Raises:
        CourseError: If it cannot be read, so that nothing in it is lost.
    """
    path = out / TABLE
    if not path.exists():
        return Earlier(None, {}, [], {})
    advice = f"correct {path}, or move it elsewhere to have a new one"
    try:
        content = path.read_bytes()
        table = read_table(path, ("id",))
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}; close it in other programs") from error
    except CourseError as error:
        raise CourseError(f"{error}; or move it elsewhere to have a new one") from error
    written = as_written(out)
    rows: dict[str, dict[str, str]] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        id = same_id(row["id"], roster)
        if id in rows:
            raise CourseError(f"{path}, line {line}: the id {row['id']!r} is there twice; {advice}")
        if number(row.get("manual", "")) is None:
            raise CourseError(f"{path}, line {line}: manual is {row['manual']!r}, which is no number; {advice}")
        rows[id] = row
    left = rows.keys() & written.keys() - roster.students.keys()
    if gone := sorted(harmless(id) for id in left if any(map(rows[id].get, TEACHERS))):
        raise CourseError(
            f"{path} has points or comments of yours for {', '.join(gone)}, and the roster has no such student; "
            "give the roster of the whole class, or delete these rows there"
        )
    before = {name for row in written.values() for name in row}
    of_labs = {name for lab in exercises.labs() for name in (lab, *late_columns(lab))}
    ours = {*REQUIRED, *FILLED, *roster.columns, *of_labs, *before}
    added = [name for name in table.columns if name and name not in ours]
    return Earlier(content, rows, added, written)


def as_written(out: Path) -> dict[str, dict[str, str]]:
    """Return the rows of students.csv as this command wrote them, by id; none if that is not known."""
    try:
        written = json.loads((out / WRITTEN).read_text(encoding="utf-8"))
        return {id: dict(row) for id, row in written.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # then every cell that would change counts as edited


def same_id(id: str, roster: Roster) -> str:
    """Return the id of the roster that a spreadsheet may have written so: it takes the zeros from 00123."""
    found = roster.find(id)
    if found is None and id.isdecimal():
        alike = [other for other in roster.students if other.isdecimal() and other.lstrip("0") == id.lstrip("0")]
        found = alike[0] if len(alike) == 1 else None
    return found or id


def number(text: str) -> float | None:
    """Return the number in a cell, with a decimal point or comma; 0 for an empty one, None for what is no number."""
    try:
        value = float(text.removeprefix("'").replace("\N{MINUS SIGN}", "-").replace(",", ".") or 0)
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def shown(value: float) -> str:
    """Return a number of points as it is written into a cell."""
    return f"{round(value, 2):g}" if abs(value) < 1e5 else str(round(value, 2))


def student_rows(
    group: Class,
    reports: list[dict[str, Any]],
    entries: dict[str, dict[str, Any]],
    waiting: list[str],
    no_notebooks: dict[str, list[str]],
    earlier: Earlier,
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of students.csv.

    Args:
        group: The class.
        reports: The reports on all submissions.
        entries: Whose they are, from `Class.entries`.
        waiting: The names of the submissions that have no verdict.
        no_notebooks: The other files of each student.
        earlier: The table that is there.
    """
    labs = sorted({report["lab"] for report in reports if entries[report["name"]]["counts"]})
    of, perhaps, pending = defaultdict(list), defaultdict(list), defaultdict(list)
    for report in reports:
        entry = entries[report["name"]]
        of[entry["student"]].append(report)
        for id in entry.get("candidates", ()):
            perhaps[id].append(report["name"])
    for name in waiting:
        pending[group.owner(name)].append(name)
    rows = {}
    for student in group.roster.students.values():
        mine = of[student.id]
        counting = {report["lab"]: report for report in mine if entries[report["name"]]["counts"]}
        lateness = {lab: entries[report["name"]] for lab, report in counting.items()}
        points = sum(report["points"] - lateness[lab].get("penalty", 0.0) for lab, report in counting.items())
        versions = Counter(report["lab"] for report in mine if report["verdict"] == "graded")
        notes = [f"{lab}: {n} versions, the {group.count} counts" for lab, n in sorted(versions.items()) if n > 1]
        notes += [f"ungradable: {r['name']}: {r['reason']}" for r in mine if r["verdict"] != "graded"]
        notes += [f"perhaps theirs: {name}" for name in perhaps[student.id]]
        notes += [f"no verdict yet: {name}" for name in pending[student.id]]
        notes += [f"no notebook: {name}" for name in no_notebooks.get(student.id, [])]
        notes += [f"{report['name']}: {sentence}" for report in mine for sentence in unmarked(report)]
        old = earlier.rows.get(student.id, {})
        manual = number(old.get("manual", "")) or 0.0
        rows[student.id] = {
            "id": student.id,
            "name": student.name,
            "group": student.group,
            **student.more,
            **{lab: shown(counting[lab]["points"]) if lab in counting else "" for lab in labs},
            **{name: cell for lab in labs for name, cell in _late_cells(group, lab, lateness.get(lab, {})).items()},
            "total": shown(points + manual),
            "notes": "; ".join(notes),
            "manual": shown(manual) if old.get("manual") else "",
            **{name: old.get(name, "") for name in ("comment", *earlier.added)},
        }
    of_labs = [name for lab in labs for name in (lab, *_late_cells(group, lab, {}))]
    columns = [*REQUIRED, *group.roster.columns, *of_labs, "total", "notes", *TEACHERS, *earlier.added]
    return columns, list(rows.values())


def standing(group: Class, report: dict[str, Any], entry: dict[str, Any], row: dict[str, str]) -> list[str]:
    """Return what a student's report says besides the points of the notebook, so that it explains the mark.

    Args:
        group: The class.
        report: The report.
        entry: Whose it is and whether it counts, from `Class.entries`.
        row: The student's row of students.csv.
    """
    student = group.roster.students[entry["student"]]
    sentences = [student.label]
    if report["verdict"] == "graded" and not entry["counts"]:
        sentences.append(f"Another version counts: the {group.count}.")
    if late := entry.get("late_seconds"):
        late = shown_late(timedelta(seconds=late))
        points, penalty = report["points"], entry["penalty"]
        cost = f"{shown(penalty)} points off, {shown(points - penalty)} count" if penalty else "no points off"
        sentences.append(f"Handed in {late} late: {cost}.")
    if manual := number(row.get("manual", "")):
        kind = "added to" if manual > 0 else "taken off"
        sentences.append(f"{shown(abs(manual))} points were {kind} the total by hand.")
    if comment := row.get("comment"):
        sentences.append(f"Comment: {comment}")
    return sentences


def mostly_late(entries: dict[str, dict[str, Any]], labs: dict[str, str]) -> list[str]:
    """Return a sentence about each lab of which more than a third is late: perhaps by the time of a download.

    Args:
        entries: Whose the submissions are and how late, from `Class.entries`.
        labs: The lab of each submission.
    """
    counting = [(labs[name], entry) for name, entry in entries.items() if entry["counts"] and "late_seconds" in entry]
    total = Counter(lab for lab, _ in counting)
    late = Counter(lab for lab, entry in counting if entry["late_seconds"])
    return [
        f"{late[lab]} of {total[lab]} submissions of {lab} are late by the times of their files. Unpacking and copying "
        "can set these anew; a column `submitted` of the roster has the right ones."
        for lab in sorted(late)
        if late[lab] > 1 and 3 * late[lab] > total[lab]
    ]


def changed_points(rows: list[dict[str, str]], earlier: Earlier) -> list[str]:
    """Return a sentence about each student and lab whose points, less a penalty, are not those of the last run.

    What is new in this run is no change; what is gone is one.
    """
    changes = []
    for row in rows:
        before = earlier.written.get(row["id"], {})
        for lab in (name for name in exercises.labs() if before.get(name)):
            old, new = less_penalty(before, lab), less_penalty(row, lab)
            if old != new:
                changes.append(f"{harmless(row['id'])}, {lab}: {old} -> {new or 'nothing'}")
    return changes


def less_penalty(row: dict[str, str], lab: str) -> str:
    """Return the points of a lab less what lateness costs, as they are written into a cell."""
    penalty = number(row.get(late_columns(lab)[1], "")) or 0.0
    return shown((number(row[lab]) or 0.0) - penalty) if row.get(lab) else ""


def _late_cells(group: Class, lab: str, entry: dict[str, Any]) -> dict[str, str]:
    """Return what students.csv says of lateness beside the points of a lab, which stay as they are."""
    if group.deadlines is None or not group.deadlines.apply_to(lab):
        return {}
    late, penalty = late_columns(lab)
    cells = {late: shown_late(timedelta(seconds=entry.get("late_seconds", 0)))}
    if group.deadlines.rate:
        cells[penalty] = shown(entry["penalty"]) if entry.get("penalty") else ""
    return cells


def lost_edits(rows: list[dict[str, str]], earlier: Earlier) -> list[str]:
    """Return a sentence about each thing that somebody wrote into students.csv and that the new one will not have."""
    lost = []
    new = {row["id"]: row for row in rows}
    for id, old in earlier.rows.items():
        if id not in new:
            if any(old.get(name) for name in (*TEACHERS, *earlier.added)) or id not in earlier.written:
                lost.append(f"{harmless(id)} is not in the roster")
            continue
        written = earlier.written.get(id, {})
        for name, cell in old.items():
            if name and not alike(cell, new[id].get(name, "")) and not alike(cell, written.get(name, "")):
                lost.append(f"{harmless(id)}: {name} was {harmless(cell) or 'empty'}")
    return lost


def alike(one: str, other: str) -> bool:
    """Whether two cells are the same, for all that a spreadsheet does to them."""
    if one == other or safe(one) == safe(other):
        return True
    return bool(one and other) and number(one) is not None and number(one) == number(other)


def safe(text: str) -> str:
    """Return a text, on as many lines as it has, that a spreadsheet will not take for a formula."""
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()]
    text = "\n".join(lines).strip()
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write_students(out: Path, columns: list[str], rows: list[dict[str, str]], roster: Roster, earlier: Earlier) -> str:
    """Write students.csv; a table that is there and holds edits that the new one will not have is kept beside it.

    Returns:
        What there is to say about edits, or an empty text.

    Raises:
        CourseError: If the file cannot be written.
    """
    path, said = out / TABLE, ""
    try:
        if (lost := lost_edits(rows, earlier)) and earlier.content is not None:
            candidates = (out / f"students-edited-{n}.csv" for n in itertools.count(1))
            kept = next(candidate for candidate in candidates if not candidate.exists())
            write_bytes(kept, earlier.content, private=True)
            more = f"; and {len(lost) - 5} more" if len(lost) > 5 else ""
            said = (
                f"students.csv was edited where this command writes ({'; '.join(lost[:5])}{more}). It is kept as "
                f"{kept}; write points into the column manual and remarks into comment, which stay."
            )
        write_text(path, "\ufeff" + _as_csv(columns, rows, ";" if roster.separator == ";" else ","), private=True)
        own = [name for name in columns if name not in earlier.added]
        points = _columns_of_points()
        ours = {row["id"]: {name: row[name] if name in points else safe(row[name]) for name in own} for row in rows}
        write_text(out / WRITTEN, json.dumps(ours, indent=1), private=True)
    except OSError as error:
        raise CourseError(
            f"{path} cannot be written: {error.strerror}; close it in other programs and run the same command again"
        ) from error
    return said


def _columns_of_points() -> set[str]:
    """Return the names of the columns that hold numbers; a negative one is no formula."""
    return {"total", "manual", *exercises.labs(), *(late_columns(lab)[1] for lab in exercises.labs())}


def _as_csv(columns: list[str], rows: list[dict[str, str]], separator: str) -> str:
    """Return a table for a spreadsheet; where semicolons separate the cells, numbers have a decimal comma."""
    table = io.StringIO()
    writer = csv.writer(table, delimiter=separator)
    writer.writerow(map(safe, columns))
    points = _columns_of_points()
    for row in rows:
        cells = []
        for name in columns:
            cell = row[name]
            if name in points:
                cells.append(cell.replace(".", ",") if separator == ";" else cell)
            else:
                cells.append(safe(cell))
        writer.writerow(cells)
    return table.getvalue()
