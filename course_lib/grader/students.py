"""Students instead of files: which version of a lab counts, and students.csv, in which a teacher may write."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.files import write_bytes, write_text
from course_lib.grader.deadlines import Deadlines, shown_late
from course_lib.grader.exam import Outcome
from course_lib.grader.report import harmless
from course_lib.grader.roster import (
    FILLED,
    REQUIRED,
    CsvTable,
    Roster,
    columns_of,
    hand_columns,
    late_columns,
    read_table,
)

COUNTS = ("latest", "best")
WITH_AN_ANSWER = " with an answer"  # where a version without any is not the one that counts
MOST_NAMED = 10  # students without points in a lab whose ids are printed
NO_ID = "no id of the roster is in its path"
OF_NO_LAB = ("manual", "comment")  # of earlier versions, which had one pair of columns for all labs
# In students.json, of a lab: the points of the version that counts; those to which points by hand were given; and how
# many of these are added, where that is not all of them.
SEEN, GIVEN_TO, COUNTED = "seen", "manual for", "manual counts"
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
        group_work: The labs of which one notebook counts for a whole group.
    """

    roster: Roster
    count: str = "latest"
    only: str | None = None
    deadlines: Deadlines | None = None
    options: dict[str, Any] = field(default_factory=dict)
    group_work: tuple[str, ...] = ()

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

    def team(self, name: str, lab: str) -> tuple[str, list[str]] | None:
        """Return whose a submission is, and the ids of all for whom it counts; None if that is not clear.

        It is a student's, or in group work that of a group, whose path may have the ids of several members.
        """
        owners = self.roster.owners(name)
        groups = {self.roster.students[id].group for id in owners}
        if lab in self.group_work and len(groups) == 1 and (group := groups.pop()):
            return f"group {group}", [s.id for s in self.roster.students.values() if s.group == group]
        return (owners[0], owners) if len(owners) == 1 else None

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
                that are as late the last by name. One without any answer counts if there is no other.
            modified: When each file was modified, by the name of the submission.
        """
        reports = list(reports)
        # When the same notebook was handed in, by student and content: it is as late as the first time.
        times: dict[tuple[str, str], list[str]] = defaultdict(list)
        for report in reports:
            if (team := self.team(report["name"], report["lab"])) and (time := modified.get(report["name"])):
                times[team[0], report["file"]].append(time)
        entries: dict[str, dict[str, Any]] = {}
        counting: dict[tuple[str, str], tuple[bool, float, str, str]] = {}
        for report in reports:
            name, owners = report["name"], self.roster.owners(report["name"])
            entries[name] = {"student": None, "modified": modified.get(name, ""), "counts": False}
            team = self.team(name, report["lab"])
            if team is None:
                entries[name]["candidates"] = owners
                entries[name]["namesakes"] = [] if owners else self.roster.namesakes(name)
                continue
            key, members = team
            entries[name] |= {"student": owners[0], "members": members}
            if report["verdict"] == "graded":
                points = report["points"]
                if self.deadlines and self.deadlines.apply_to(report["lab"]):
                    handed_in = min(times[key, report["file"]], default="")
                    late = self.deadlines.late(owners[0], report["lab"], handed_in)
                    penalty = self.deadlines.penalty(late, points, report["max_points"])
                    told = self.deadlines.told(owners[0], report["lab"], handed_in) if late else ""
                    entries[name] |= {"late_seconds": math.ceil(late.total_seconds()), "penalty": penalty}
                    entries[name]["deadline"] = told
                    points -= penalty
                rank = (_answers_any(report), points if self.count == "best" else 0.0, entries[name]["modified"], name)
                lab = key, report["lab"]
                counting[lab] = max(rank, counting.get(lab, rank))
        for *_, name in counting.values():
            entries[name]["counts"] = True
        return entries


def group_work(roster: Roster) -> tuple[tuple[str, ...], str]:
    """Return the labs of which `course.toml` says that a group hands in one notebook, and a sentence about it.

    Where the roster has no groups, a notebook of these labs counts for one student, as elsewhere.

    Raises:
        CourseError: If there is no such lab, or a column has nearly the name `group`.
    """
    course = own.course()
    for lab in course.group_work:
        if lab not in exercises.labs():
            place = course.place("group_work")
            raise CourseError(f"{place} there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    if not course.group_work:
        return (), ""
    sizes = Counter(student.group for student in roster.students.values() if student.group)
    if not sizes:
        labs = ", ".join(course.group_work)
        none = f"{course.place('group_work')} {labs} is group work, and the roster has no groups"
        if close := difflib.get_close_matches("group", [name.casefold() for name in roster.columns], n=1):
            raise CourseError(f"{none}; is its column `{close[0]}` meant? Call it `group`")
        return (), f"{none} (in a column `group`): a notebook counts for one student."
    groups = f"{len(sizes)} groups, the largest of {max(sizes.values())}"
    if alone := [student.id for student in roster.students.values() if not student.group]:
        groups += f"; without a group: {named(alone)}"
    return course.group_work, f"Group work, as course.toml says: {', '.join(course.group_work)}; {groups}."


def better_versions(
    reports: Iterable[dict[str, Any]], entries: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield the ids and a sentence where a version that does not count has more points than the one that does.

    Args:
        reports: The reports on the submissions.
        entries: Whose each is and whether it counts, from `Class.entries`.
    """
    versions: dict[tuple[tuple[str, ...], str], list[tuple[float, bool]]] = defaultdict(list)
    for report in reports:
        entry = entries[report["name"]]
        if entry["student"] and report["verdict"] == "graded":
            points = report["points"] - (entry.get("penalty") or 0.0)
            versions[tuple(entry["members"]), report["lab"]].append((points, entry["counts"]))
    for (members, lab), found in versions.items():
        most, counted = max(points for points, _ in found), [points for points, counts in found if counts]
        if counted and most > counted[0] + 0.005:
            yield (
                ", ".join(members),
                f"{lab}: the latest version counts, with {shown(counted[0])}; an earlier one has {shown(most)}",
            )


def modified_at(path: Path) -> str:
    """Return when a file was modified: texts that sort by time."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="microseconds")
    except (OSError, OverflowError, ValueError):
        return ""


def _answers_any(report: dict[str, Any]) -> bool:
    """Whether a graded notebook has an answer to any exercise, right or wrong."""
    untouched = {Outcome.NOT_STARTED, Outcome.NOT_ATTEMPTED}
    return any(entry["outcome"] not in untouched for entry in report["exercises"].values())


def unmarked(report: dict[str, Any]) -> list[str]:
    """Return a sentence about each exercise whose answer is in the notebook, but in no cell with its mark."""
    return [entry["summary"] for entry in report["exercises"].values() if entry["outcome"] == Outcome.NOT_MARKED]


def unassigned(entries: dict[str, dict[str, Any]]) -> list[str]:
    """Return a sentence about each submission that belongs to no student."""
    sentences = []
    for name, entry in entries.items():
        if entry["student"] is None:
            why = f"{' or '.join(entry['candidates'])}?" if entry["candidates"] else NO_ID
            if entry.get("namesakes"):
                why += f", but the name of {' and of '.join(entry['namesakes'])} is; put the id into it"
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
        said: What became of points and comments that belonged to no lab.
    """

    content: bytes | None
    rows: dict[str, dict[str, str]]
    added: list[str]
    written: dict[str, dict[str, str]]
    said: list[str] = field(default_factory=list)


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
    points = _columns_by_hand() & set(table.columns)
    problems = []
    for row, line in zip(table.rows, table.lines, strict=True):
        id = same_id(row["id"], roster)
        if id in rows:
            problems.append(f"line {line}: the id {row['id']!r} is there twice")
        for name in sorted(name for name in points if number(row[name]) is None):
            problems.append(f"line {line}: {name} is {row[name]!r}, which is no number")
        rows[id] = row
    if problems:  # all at once, so that one correction is enough
        more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise CourseError(f"{path}, {'; '.join(problems[:MOST_NAMED])}{more}; {advice}")
    left = rows.keys() & written.keys() - roster.students.keys()
    teachers = teachers_columns()
    if gone := sorted(harmless(id) for id in left if any(map(rows[id].get, teachers))):
        raise CourseError(
            f"{path} has points or comments of yours for {', '.join(gone)}, and the roster has no such student; "
            "give the roster of the whole class, or delete these rows there"
        )
    before = {name for row in written.values() for name in row}
    of_labs = {name for lab in exercises.labs() for name in columns_of(lab)}
    ours = {*REQUIRED, *FILLED, *roster.columns, *of_labs, *before}
    added = [name for name in table.columns if name and name not in ours]
    said = [*_given_a_lab(table, rows), *_without_effect(table, added, roster, written)]
    return Earlier(content, rows, added, written, said)


def _without_effect(table: CsvTable, added: list[str], roster: Roster, written: Mapping[str, Any]) -> list[str]:
    """Return a sentence about each row and column in which a teacher's points would count for nobody."""
    said = []
    for row, line in zip(table.rows, table.lines, strict=True):
        if (id := same_id(row["id"], roster)) not in roster.students and id not in written:
            has = "; ".join(f"{name}: {cell}" for name, cell in row.items() if cell and name != "id") or "nothing else"
            who = f"{harmless(row['id'])!r} is not in the roster" if row["id"] else "the id is empty"
            said.append(f"{TABLE}, line {line}: {who}, so this row is ignored ({harmless(has)})")
    for name in added:
        lab, _, kind = name.rpartition(" ")
        if kind.casefold() in OF_NO_LAB and lab not in exercises.labs():
            close = difflib.get_close_matches(name, teachers_columns(), n=1, cutoff=0.8)
            meant = f"is `{close[0]}` meant?" if close else "points by hand are in a column `LAB manual`"
            said.append(f"{TABLE}: the column {harmless(name)!r} is about no lab and counts nothing; {meant}")
    return said


def teachers_columns() -> list[str]:
    """Return the names of the columns of students.csv that are the teacher's."""
    return [*(name for lab in exercises.labs() for name in hand_columns(lab)), *OF_NO_LAB]


def _columns_by_hand() -> set[str]:
    return {OF_NO_LAB[0], *(hand_columns(lab)[0] for lab in exercises.labs())}


def _given_a_lab(table: CsvTable, rows: dict[str, dict[str, str]]) -> list[str]:
    """Move points and comments out of the columns that belong to no lab, as far as it is clear whose they are.

    They are those of the only lab of the table, or else of the only lab in which the student has points. What is left
    stays in its column and counts in the total.

    Returns:
        Sentences about it.
    """
    labs = [lab for lab in exercises.labs() if lab in table.columns]
    moved: dict[str, list[str]] = defaultdict(list)
    left = []
    for id, row in rows.items():
        if not any(map(row.get, OF_NO_LAB)):
            continue
        mine = labs if len(labs) == 1 else [lab for lab in labs if row[lab]]
        if len(mine) != 1 or any(map(row.get, hand_columns(mine[0]))):
            left.append(harmless(id))
            continue
        row.update({new: row.get(old, "") for old, new in zip(OF_NO_LAB, hand_columns(mine[0]), strict=True)})
        row.update(dict.fromkeys(OF_NO_LAB, ""))
        moved[mine[0]].append(harmless(id))
    said = [
        f"the columns manual and comment belonged to no lab: for {', '.join(ids)} they are taken as those of {lab}, "
        f"the only lab with points, and are in `{lab} manual` and `{lab} comment` now; move them if that is wrong"
        for lab, ids in moved.items()
    ]
    if left:
        said.append(
            f"the columns manual and comment belong to no lab, and for {', '.join(left)} it is not clear which is "
            "meant: they stay, and count in the total alone; move each into the columns of its lab, `LAB manual` and "
            "`LAB comment`"
        )
    return said


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
    known, points = exercises.labs(), _columns_by_hand()
    by_hand = {lab for row in earlier.rows.values() for lab in known if any(map(row.get, hand_columns(lab)))}
    by_hand = {*labs, *by_hand}
    rest = [name for name in OF_NO_LAB if any(row.get(name) for row in earlier.rows.values())]
    of, perhaps, pending = defaultdict(list), defaultdict(list), defaultdict(list)
    for report in reports:
        entry = entries[report["name"]]
        for id in entry.get("members", ()):
            of[id].append(report)
        for id in entry.get("candidates", ()):
            perhaps[id].append(report["name"])
    for name in waiting:
        pending[group.owner(name)].append(name)
    rows = {}
    for student in group.roster.students.values():
        mine = of[student.id]
        counting = {report["lab"]: report for report in mine if entries[report["name"]]["counts"]}
        lateness = {lab: entries[report["name"]] for lab, report in counting.items()}
        versions = Counter(report["lab"] for report in mine if report["verdict"] == "graded")
        empty = {report["lab"] for report in mine if report["verdict"] == "graded" and not _answers_any(report)}
        which = {lab: f"the {group.count}{WITH_AN_ANSWER if lab in empty else ''}" for lab in versions}
        notes = [f"{lab}: {n} versions, {which[lab]} counts" for lab, n in sorted(versions.items()) if n > 1]
        notes += [f"ungradable: {r['name']}: {r['reason']}" for r in mine if r["verdict"] != "graded"]
        notes += [f"perhaps theirs: {name}" for name in perhaps[student.id]]
        notes += [f"no verdict yet: {name}" for name in pending[student.id]]
        notes += [f"no notebook: {name}" for name in no_notebooks.get(student.id, [])]
        notes += [f"{report['name']}: {sentence}" for report in mine for sentence in unmarked(report)]
        old = earlier.rows.get(student.id, {})
        hands = {name: old.get(name, "") for lab in sorted(by_hand) for name in hand_columns(lab)}
        hands |= {name: old.get(name, "") for name in rest}
        hands |= {name: shown(number(hands[name]) or 0.0) for name in points if hands.get(name)}
        versions_by_hand = _versions(by_hand, counting, hands, earlier.written.get(student.id, {}))
        notes += [told for lab in sorted(by_hand) if (told := given_earlier({**hands, **versions_by_hand}, lab))]
        row = {
            "id": student.id,
            "name": student.name,
            "group": student.group,
            **student.more,
            **{lab: shown(counting[lab]["points"]) if lab in counting else "" for lab in labs},
            **{name: cell for lab in labs for name, cell in _late_cells(group, lab, lateness.get(lab, {})).items()},
            "notes": "; ".join(notes),
            **hands,
            **{name: old.get(name, "") for name in earlier.added},
            **versions_by_hand,
        }
        marks = sum(number(mark(row, lab)) or 0.0 for lab in by_hand)
        rows[student.id] = {**row, "total": shown(marks + (number(row.get(OF_NO_LAB[0], "")) or 0.0))}
    of_labs = [name for lab in labs for name in (lab, *_late_cells(group, lab, {}))]
    teachers = [*(name for lab in sorted(by_hand) for name in hand_columns(lab)), *rest]
    columns = [*REQUIRED, *group.roster.columns, *of_labs, "total", "notes", *teachers, *earlier.added]
    return columns, list(rows.values())


def _versions(
    labs: Iterable[str], counting: dict[str, dict[str, Any]], hands: dict[str, str], written: dict[str, str]
) -> dict[str, str]:
    """Return what students.json says of the points of each lab, and of the points to which those by hand were given.

    They were given when they were written: after the run before, which showed what the lab had. If it has more now,
    from a new version or since it was graded again, it may have earned them already. So a student then has what they
    made together, or the new points if they are more, until the teacher writes again. A deduction stays.
    """
    found = {f"{lab} {SEEN}": shown(report["points"]) for lab, report in counting.items()}
    for lab in labs:
        names, seen, given = hand_columns(lab), f"{lab} {SEEN}", f"{lab} {GIVEN_TO}"
        manual = number(hands.get(names[0], "")) or 0.0
        if not manual:
            continue
        if given in written and all(alike(hands[name], written.get(name, "")) for name in names):
            found[given] = written[given]
        else:
            found[given] = written.get(seen, "") if names[0] in written else found.get(seen, "")
        more = (number(found.get(seen, "")) or 0.0) - (number(found[given]) or 0.0)
        if manual > 0 and more > 0:
            found[f"{lab} {COUNTED}"] = shown(max(0.0, manual - more))
    return found


def points_by_hand(row: dict[str, str], lab: str) -> float:
    """Return the points by hand added to a lab: those in the teacher's column, or what still counts of them."""
    return number(row.get(f"{lab} {COUNTED}", row.get(hand_columns(lab)[0], ""))) or 0.0


def by_hand_before(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return the id and a sentence for each student and lab with points by hand that are older than the lab's own."""
    labs = exercises.labs()
    return [(row["id"], told) for row in rows for lab in labs if (told := given_earlier(row, lab))]


def given_earlier(row: dict[str, str], lab: str) -> str:
    """Return a sentence if points by hand were given to other points of a lab than it has now, else an empty text."""
    counted, (manual, comment) = row.get(f"{lab} {COUNTED}"), hand_columns(lab)
    if counted is None:
        return ""
    before, now = row[f"{lab} {GIVEN_TO}"] or "0", row[f"{lab} {SEEN}"]
    return (
        f"{lab}: {row[manual]} by hand was given when it had {before} points; now it has {now}, so {counted} is added "
        f"by hand. If it shall be more, write the number anew, or the same one and a word in `{comment}`"
    )


def standing(group: Class, report: dict[str, Any], entry: dict[str, Any], rows: dict[str, dict[str, str]]) -> list[str]:
    """Return what a student's report says besides the points of the notebook, so that it explains the mark.

    Args:
        group: The class.
        report: The report.
        entry: Whose it is and whether it counts, from `Class.entries`.
        rows: The rows of students.csv by id.
    """
    members = [group.roster.students[id] for id in entry["members"]]
    sentences = ["; ".join(student.label for student in members)]
    if report["verdict"] == "graded" and not entry["counts"]:
        sentences.append(f"Another version counts: the {group.count}{'' if _answers_any(report) else WITH_AN_ANSWER}.")
    if late := entry.get("late_seconds"):
        late = shown_late(timedelta(seconds=late))
        points, penalty = report["points"], entry["penalty"]
        cost = f"{shown(penalty)} points off, {shown(points - penalty)} count" if penalty else "no points off"
        sentences += [f"Handed in {late} late: {cost}.", entry["deadline"]]
    of_each = [_of_teacher(report, entry, rows[student.id]) for student in members]
    if len(members) == 1:
        return [*sentences, *of_each[0]]
    # All members read this report. What is about one of them goes to that one: see `export.zip_reports`.
    own_words = "Points by hand and comments are each student's own, and not in this report."
    return [*sentences, *([own_words] if any(of_each) else [])]


def _of_teacher(report: dict[str, Any], entry: dict[str, Any], row: dict[str, str]) -> list[str]:
    """Return sentences about what a teacher wrote for a student, and what the lab counts with it."""
    lab, sentences = report["lab"], []
    if lab and (entry["counts"] or report["verdict"] != "graded"):
        manual, comment = hand_columns(lab)
        sentences += _by_hand(points_by_hand(row, lab), "this lab")
        if number(row.get(manual, "")):
            sentences.append(f"So this lab counts {mark(row, lab)} points.")
        sentences += _said(row, comment)
    return [*sentences, *_by_hand(number(row.get(OF_NO_LAB[0], "")) or 0.0, "the total"), *_said(row, OF_NO_LAB[1])]


def _by_hand(points: float, where: str) -> list[str]:
    """Return a sentence about points by hand, if there are any."""
    kind = "added to" if points > 0 else "taken off"
    were = "point was" if abs(points) == 1 else "points were"
    return [f"{shown(abs(points))} {were} {kind} {where} by hand."] if points else []


def _said(row: dict[str, str], comment: str) -> list[str]:
    return [f"Comment: {row[comment]}"] if row.get(comment) else []


def mostly_late(entries: dict[str, dict[str, Any]], labs: dict[str, str]) -> list[str]:
    """Return a sentence about each lab of which more than a third is late: perhaps by the time of a download.

    Args:
        entries: Whose the submissions are and how late, from `Class.entries`.
        labs: The lab of each submission.
    """
    counting = {name: entry for name, entry in entries.items() if entry["counts"] and "late_seconds" in entry}
    total = Counter(labs[name] for name in counting)
    late = Counter(labs[name] for name, entry in counting.items() if entry["late_seconds"])
    packed = Counter(labs[name] for name, entry in counting.items() if entry["late_seconds"] and is_packed(name))
    return [
        f"{late[lab]} of {total[lab]} submissions of {lab} are late by the times of their files. Unpacking and copying "
        "can set these anew; a column `submitted` of the roster has the right ones."
        + (f" {packed[lab]} of them are in a zip file and have its time: unpack it for their own." * (packed[lab] > 0))
        for lab in sorted(late)
        if late[lab] > 1 and 3 * late[lab] > total[lab]
    ]


def is_packed(name: str) -> bool:
    """Whether a submission was found in a zip file, by its name."""
    return any(part.casefold().endswith(".zip") for part in name.split("/")[:-1])


def changed_points(rows: list[dict[str, str]], earlier: Earlier) -> list[str]:
    """Return a sentence about each student and lab whose points, less a penalty, are not those of the last run.

    What is gone is a change too, and so are the first points of a student in a lab in which others had some before.
    These come last. A lab in which nobody had any is no change.
    """
    changes, first, nothing = list[str](), list[str](), dict[str, str]()
    for lab in exercises.labs():
        if not any(mark(row, lab) for row in earlier.written.values()):
            continue
        for row in rows:
            old, new = mark(earlier.written.get(row["id"], nothing), lab), mark(row, lab)
            if old != new:
                told = f"{harmless(row['id'])}, {lab}: {old or 'nothing'} -> {new or 'nothing'}"
                (changes if old else first).append(told)
    return [*changes, *first]


def without_points(rows: Iterable[dict[str, str]], labs: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids of the students who have no points in a lab, by lab."""
    rows = list(rows)
    return {lab: [row["id"] for row in rows if not mark(row, lab)] for lab in labs}


def named(ids: list[str]) -> str:
    """Return ids for a line of a terminal: the first ones, and how many more there are."""
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"{', '.join(map(harmless, ids[:MOST_NAMED]))}{more}"


def mark(row: dict[str, str], lab: str) -> str:
    """Return what a lab counts, as it is written into a cell: less what lateness costs, with points by hand.

    Points by hand alone are a mark too, as for a lab that was handed in on paper.
    """
    points, penalty = (number(row.get(name, "")) or 0.0 for name in (lab, late_columns(lab)[1]))
    has_any = row.get(lab) or row.get(hand_columns(lab)[0])
    return shown(points - penalty + points_by_hand(row, lab)) if has_any else ""


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
    lost, teachers = [], teachers_columns()
    new = {row["id"]: row for row in rows}
    for id, old in earlier.rows.items():
        if id not in new:
            if any(old.get(name) for name in (*teachers, *earlier.added)) or id not in earlier.written:
                lost.append(f"{harmless(id) or 'a row without id'} is not in the roster")
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
                f"{kept}; write points and remarks into a lab's columns, `LAB manual` and `LAB comment`, which stay."
            )
        write_text(path, "\ufeff" + _as_csv(columns, rows, ";" if roster.separator == ";" else ","), private=True)
        own = [name for name in columns if name not in earlier.added]
        points = _columns_of_points()
        ours = {row["id"]: {name: row[name] if name in points else safe(row[name]) for name in own} for row in rows}
        hidden = tuple(f" {name}" for name in (SEEN, GIVEN_TO, COUNTED))
        for row in rows:
            ours[row["id"]] |= {name: row[name] for name in row if name.endswith(hidden)}
        write_text(out / WRITTEN, json.dumps(ours, indent=1), private=True)
    except OSError as error:
        raise CourseError(
            f"{path} cannot be written: {error.strerror}; close it in other programs and run the same command again"
        ) from error
    return said


def _columns_of_points() -> set[str]:
    """Return the names of the columns that hold numbers; a negative one is no formula."""
    of_labs = (name for lab in exercises.labs() for name in (lab, late_columns(lab)[1]))
    return {"total", *of_labs, *_columns_by_hand()}


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
