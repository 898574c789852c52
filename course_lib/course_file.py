"""`course.toml`: what a fork of the course is called, who teaches it, what they teach, and how they grade it."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError

NAME = "course.toml"
TABLES = {  # a key that has lines of its own, what each of them holds, and an example
    "points": ("a whole number from 1 to 1000", "softmax = 3"),
    "deadlines": ("a time", 'ch01_attention = "2026-12-01T23:59 Europe/Berlin"'),
}


@dataclass(frozen=True)
class Course:
    """What `course.toml` says; each key may be left out.

    Attributes:
        name: The name of the course, on every page; by default the title in `_config.yml`.
        authors: Who teaches it; by default the author in `_config.yml`.
        chapters: The chapters that are taught, such as "primer" and "ch01"; none means all of them.
        hints: How many of the two hints of each exercise the students get.
        late_penalty: What lateness costs where `course grade` is not told, such as "10%/day".
        group_work: The labs of which one notebook counts for a whole group of the roster.
        points: The points of an exercise or of a whole lab, where they are not those of the course.
        deadlines: When a lab is due, where `course grade` is not told.
        site: Where the students read the pages, for links in their reports.
        text: The whole file, to say in which line something is.
    """

    name: str = ""
    authors: tuple[str, ...] = ()
    chapters: tuple[str, ...] = ()
    hints: int = 2
    late_penalty: str = ""
    group_work: tuple[str, ...] = ()
    points: dict[str, int] = field(default_factory=dict)
    deadlines: dict[str, str] = field(default_factory=dict)
    site: str = ""
    text: str = field(default="", repr=False, compare=False)

    def place(self, key: str, inside: str = "") -> str:
        """Return "course.toml, line 3:", where a key is, or a line inside it such as `softmax` of `points`."""
        return _place(self.text, key, inside)


def read_course(root: Path) -> Course:
    """Read `course.toml` at the root of a checkout; without one, all is as by default.

    Raises:
        CourseError: If the file is no TOML, or a key is unknown or has a wrong value; the sentence names the line.
    """
    path = root / NAME
    try:
        text = path.read_text(encoding="utf8")
        found = tomllib.loads(text)
    except FileNotFoundError:
        return Course()
    except UnicodeDecodeError:
        raise CourseError(f"{NAME} is not UTF-8 text; save it as that") from None
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{NAME} is not TOML: {error}") from None
    known = [field.name for field in fields(Course) if field.name != "text"]
    for key, value in found.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
            meant = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}"
            raise CourseError(f"{_place(text, key)} there is no key `{key}`; {meant}")
        if wrong := _wrong(key, value):
            raise CourseError(f"{_place(text, key)} `{key}` {wrong}")
        for name, inside in value.items() if key in TABLES else ():
            if name in known:
                raise CourseError(f"{_place(text, key, name)} `{name}` is below [{key}]; put it above all such lines")
            if not _fits(key, inside):
                what, example = TABLES[key]
                raise CourseError(f"{_place(text, key, name)} in [{key}], `{name}` is {what}, as in `{example}`")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    values["deadlines"] = {lab: str(time) for lab, time in found.get("deadlines", {}).items()}
    return Course(**values, text=text)


def _fits(table: str, value: Any) -> bool:
    """Whether a value may stand in a table; what a time says is looked at where it is used."""
    return isinstance(value, str | date) if table == "deadlines" else type(value) is int and 1 <= value <= 1000


def _wrong(key: str, value: Any) -> str | None:
    """Return what is wrong with the value of a known key, or None."""
    if key == "name":
        return None if isinstance(value, str) and value.strip() else 'is a text, such as "Language models, autumn"'
    if key == "hints":
        return None if type(value) is int and 0 <= value <= 2 else "is 0, 1 or 2"
    if key == "site":
        fits = isinstance(value, str) and re.fullmatch(r"https?://[^\s\"<>]+[^\s\"<>/]", value)
        return None if fits else 'is an address without a slash at its end, such as "https://OWNER.github.io/NAME"'
    if key == "late_penalty":
        return None if isinstance(value, str) else 'is a text: "10%/day", "1%/hour", or "20%" once'
    if key in TABLES:
        return None if isinstance(value, dict) else f"is a line [{key}], and below it lines such as `{TABLES[key][1]}`"
    examples = {"chapters": '["ch01", "ch03"]', "group_work": '["ch01_heads"]'}
    example = examples.get(key, '["Ada Lovelace"]')
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        return f"is a list of texts, such as {example}"
    if not value:
        return "is empty; leave the line out" + (" for all chapters" if key == "chapters" else "")
    twice = {item for item in value if value.count(item) > 1}
    return f"has {min(twice)} twice" if twice else None


def _place(text: str, key: str, inside: str = "") -> str:
    """Return "course.toml, line 3:", the line of a key, or of a key inside a table."""
    lines = text.splitlines()
    mark = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=\].]""")
    number = next((number for number, line in enumerate(lines, 1) if mark.match(line)), None)
    if number and inside:
        mark = re.compile(rf"""(^|[\s{{,.])["']?{re.escape(inside)}["']?\s*=""")
        number = next((n for n, line in enumerate(lines, 1) if n >= number and mark.search(line)), number)
    return f"{NAME}, line {number}:" if number else f"{NAME}:"
