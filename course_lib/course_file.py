"""`course.toml`: what a fork of the course is called, who teaches it, and which chapters they teach."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError

NAME = "course.toml"


@dataclass(frozen=True)
class Course:
    """What `course.toml` says; each key may be left out.

    Attributes:
        name: The name of the course, on every page; by default the title in `_config.yml`.
        authors: Who teaches it; by default the author in `_config.yml`.
        chapters: The chapters that are taught, such as "primer" and "ch01"; none means all of them.
        hints: How many of the two hints of each exercise the students get.
    """

    name: str = ""
    authors: tuple[str, ...] = ()
    chapters: tuple[str, ...] = ()
    hints: int = 2


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
    known = [field.name for field in fields(Course)]
    for key, value in found.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
            meant = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}"
            raise CourseError(f"{_place(text, key)} there is no key `{key}`; {meant}")
        if wrong := _wrong(key, value):
            raise CourseError(f"{_place(text, key)} `{key}` {wrong}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Course(**values)


def _wrong(key: str, value: Any) -> str | None:
    """Return what is wrong with the value of a known key, or None."""
    if key == "name":
        return None if isinstance(value, str) and value.strip() else 'is a text, such as "Language models, autumn"'
    if key == "hints":
        return None if type(value) is int and 0 <= value <= 2 else "is 0, 1 or 2"
    example = '["ch01", "ch03"]' if key == "chapters" else '["Ada Lovelace"]'
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        return f"is a list of texts, such as {example}"
    twice = {item for item in value if value.count(item) > 1}
    return f"has {min(twice)} twice" if twice else None


def _place(text: str, key: str) -> str:
    """Return "course.toml, line 3:", the line of a key."""
    mark = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=\].]""")
    lines = (number for number, line in enumerate(text.splitlines(), 1) if mark.match(line))
    number = next(lines, None)
    return f"{NAME}, line {number}:" if number else f"{NAME}:"
