"""The rules that hold for a class: a later run says which of them are gone, since marks would change without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from course_lib.course_file import NAME, Course
from course_lib.exercises import own
from course_lib.grader.deadlines import EXTENSION, SUBMITTED
from course_lib.grader.kept_options import KEPT
from course_lib.grader.students import Class

RULES = "rules"  # where options.json has them
ALL_LABS = "all labs"


def rules_of(group: Class) -> dict[str, Any]:
    """Return the rules that hold for a class, as options.json keeps them."""
    due, students = group.deadlines, group.roster.students.values()
    return {
        "deadlines": sorted(lab or ALL_LABS for lab in due.of_lab) if due else [],
        "penalty": bool(due and due.rate),
        "group_work": list(group.group_work),
        "columns": [*(["group"] if any(s.group for s in students) else []), *_columns_of_times(group)],
    }


def what_is_gone(out: Path, group: Class, told: bool) -> list[str]:
    """Return a sentence about each rule of the last run that no longer holds, and about columns without effect.

    Args:
        out: The folder of grades.
        group: The class, as it is now.
        told: Whether the command line is about deadlines, so that their change is meant.
    """
    now, said = rules_of(group), []
    before = _before(out)
    where = f"look at {NAME}" if own.course() != Course() else f"there is no {NAME} here"
    lacks = [lab for lab in before["deadlines"] if lab not in now["deadlines"] and ALL_LABS not in now["deadlines"]]
    if lacks and not told:
        said.append(
            f"The last run had deadlines for {', '.join(lacks)}, and this one has none: nobody is late there now. "
            f"If that is not meant, {where}."
        )
    elif before["penalty"] and not now["penalty"] and not told:
        said.append(f"In the last run lateness cost points, and now it does not. If that is not meant, {where}.")
    if lost := [lab for lab in before["group_work"] if lab not in group.group_work]:
        said.append(
            f"In the last run {', '.join(lost)} was group work, and now it is not: a notebook counts for one student. "
            f"If that is not meant, {where}."
        )
    if missing := [name for name in before["columns"] if name not in now["columns"]]:
        said.append(f"The roster of the last run had {_columns(missing)} filled, and this one has not.")
    if "group" in now["columns"] and not group.group_work and not before["group_work"]:
        said.append(
            f"The roster has groups, and {NAME} names no lab as `group_work`: a notebook counts for one student."
        )
    if (columns := _columns_of_times(group)) and not group.deadlines:
        said.append(f"The roster has {_columns(columns)}, and no lab has a deadline: nobody is late.")
    return said


def without_roster() -> list[str]:
    """Return a sentence about what `course.toml` says of students, if there is anything."""
    course = own.course()
    named = [*(["deadlines"] if course.deadlines else []), *(["group work"] if course.group_work else [])]
    return [f"{NAME} has {' and '.join(named)}; that needs --roster, and is left aside."] if named else []


def _before(out: Path) -> dict[str, Any]:
    nothing = {"deadlines": [], "penalty": False, "group_work": [], "columns": []}
    try:
        return {**nothing, **json.loads((out / KEPT).read_text(encoding="utf-8")).get(RULES, {})}
    except (OSError, ValueError, AttributeError, TypeError):
        return nothing


def _columns_of_times(group: Class) -> list[str]:
    """Return the roster's columns of times in which there is any."""
    names = [name for name in group.roster.columns if name.casefold().partition(" ")[0] in (EXTENSION, SUBMITTED)]
    return [name for name in names if any(student.more[name] for student in group.roster.students.values())]


def _columns(names: list[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(f'`{name}`' for name in names)}"
