"""The roster of a class: who is in it, and whose a submission is."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.report import harmless

REQUIRED = ("id", "name", "group")
FILLED = ("total", "notes", "manual", "comment")  # columns of students.csv that are not the roster's; two are old
_SEPARATORS = (",", ";", "\t")
# How Moodle names what it packs: "Ada Lovelace_4711_assignsubmission_file/lab.ipynb", with a number of its own.
_MOODLE = re.compile(r"([^/]+)_\d+_assignsubmission_")


def late_columns(lab: str) -> tuple[str, str]:
    """Return the names of a lab's columns in students.csv that say how late it is, and what that costs."""
    return f"{lab} late", f"{lab} penalty"


def hand_columns(lab: str) -> tuple[str, str]:
    """Return the names of a lab's columns in students.csv that are the teacher's: points to add, and a comment."""
    return f"{lab} manual", f"{lab} comment"


def columns_of(lab: str) -> tuple[str, ...]:
    """Return the names of all columns of a lab in students.csv."""
    return lab, *late_columns(lab), *hand_columns(lab)


@dataclass(frozen=True)
class CsvTable:
    """A table as a spreadsheet saves it.

    Attributes:
        columns: The names of the columns, as they are written.
        rows: The cells of each row, by the name of the column.
        lines: The line in which each row ends.
        separator: What separates the cells: a comma, a semicolon or a tab.
    """

    columns: list[str]
    rows: list[dict[str, str]]
    lines: list[int]
    separator: str


@dataclass(frozen=True)
class Student:
    """A row of the roster; `more` has its columns besides id, name and group."""

    id: str
    name: str
    group: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name, id and group on one line, as far as the roster has them."""
        known = ", ".join([self.id, *([f"group {self.group}"] if self.group else [])])
        return f"{self.name} ({known})" if self.name else known


@dataclass(frozen=True)
class Roster:
    """The students of a class.

    Attributes:
        students: Each student by id, in the order of the file.
        columns: The names of the columns besides id, name and group.
        separator: What separates the cells of the file.
        pattern: A regular expression whose only group is the id in a path; None to look for the ids themselves.
    """

    students: dict[str, Student]
    columns: list[str]
    separator: str = ","
    pattern: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", {folded(id): id for id in self.students})
        object.__setattr__(self, "_lengths", sorted({len(id) for id in self._ids}))
        object.__setattr__(self, "_names", {id: name_words(student.name) for id, student in self.students.items()})

    _ids: dict[str, str] = field(init=False, repr=False)
    _lengths: list[int] = field(init=False, repr=False)
    _names: dict[str, list[str]] = field(init=False, repr=False)

    def find(self, id: str) -> str | None:
        """Return an id as the roster has it, however its letters are cased."""
        return self._ids.get(folded(id))

    def owners(self, path: str) -> list[str]:
        """Return the ids of the students whose submission this may be: one if it is clear, none if it is nobody's.

        An id counts where it is a whole word of the path. Where one id is part of another, the longer one counts. What
        Moodle has packed for the class has a student's full name in its path: there the name counts too.
        """
        if self.pattern is not None:
            ids = (
                self.find(match[1]) for match in self.pattern.finditer(unicodedata.normalize("NFC", path)) if match[1]
            )
            return list(dict.fromkeys(id for id in ids if id is not None))
        text = folded(path)
        spans = []
        for start in range(len(text)):
            for end in (start + length for length in self._lengths if start + length <= len(text)):
                parted = not (
                    _joined(text[start - 1 : start], text[start]) or _joined(text[end - 1], text[end : end + 1])
                )
                if parted and text[start:end] in self._ids:
                    spans.append((start, end))
        longest = [
            (start, end)
            for start, end in spans
            if not any(a <= start and end <= b and (a, b) != (start, end) for a, b in spans)
        ]
        found = [self._ids[text[start:end]] for start, end in longest]
        for packed in _MOODLE.finditer(path):
            same = [id for id, name in self._names.items() if name == name_words(packed[1])]
            found += same if len(same) == 1 else []
        return list(dict.fromkeys(found))

    def namesakes(self, path: str) -> list[str]:
        """Return the ids of the students whose first and last name are among the words of a path: a hint at most."""
        words = set(name_words(path))
        return [id for id, name in self._names.items() if len(name) > 1 and words.issuperset(name)]


def name_words(name: str) -> list[str]:
    """Return the words of a name in the form in which they are compared: in any order, since platforms turn them."""
    return sorted(word for word in re.split(r"[\W_]+", folded(name)) if word)


def folded(text: str) -> str:
    """Return a text in the form in which ids are compared: file systems change the case and the accents' encoding."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _joined(before: str, after: str) -> bool:
    """Whether two characters belong to one word. A script without cases, such as Chinese, ends at a Latin letter."""
    if not before or not after or not (_in_word(before) and _in_word(after)):
        return False
    other = after if before.isascii() else before
    return before.isascii() == after.isascii() or unicodedata.category(other) != "Lo"


def _in_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def read_roster(path: Path, id_pattern: str | None = None) -> Roster:
    """Read the roster of a class.

    Args:
        path: A CSV file with the columns id and name; it may have group and others.
        id_pattern: A regular expression that finds the id in the path of a submission, as its only group.

    Raises:
        CourseError: If the file is not a roster, or the expression has not exactly one group.
    """
    table = read_table(path)
    own = {*FILLED, *(name for lab in exercises.labs() for name in columns_of(lab))}
    filled = [name for name in table.columns if name in own]
    if filled:
        raise CourseError(
            f"{path}: the column {filled[0]!r} has a name that students.csv gives to a column of its own; rename it"
        )
    students: dict[str, Student] = {}
    lines: dict[str, int] = {}
    more = [name for name in table.columns if name and name not in REQUIRED]
    for row, line in zip(table.rows, table.lines, strict=True):
        id = row["id"]
        if not id:
            raise CourseError(f"{path}, line {line}: the id is empty; give every student one")
        if id[0] in "=+-@" or not id.isprintable():
            raise CourseError(
                f"{path}, line {line}: the id {id!r} begins with = + - @ or has a character that cannot be printed; "
                "give the student another one"
            )
        if folded(id) in lines:
            raise CourseError(
                f"{path}: lines {lines[folded(id)]} and {line} have the same id, {id!r}; correct one of them"
            )
        lines[folded(id)] = line
        students[id] = Student(id, row["name"], row.get("group", ""), {harmless(name): row[name] for name in more})
    if not students:
        raise CourseError(f"{path} has no students below its header; add a line for each")
    return Roster(students, [harmless(name) for name in more], table.separator, _compiled(id_pattern))


def _compiled(id_pattern: str | None) -> re.Pattern[str] | None:
    if id_pattern is None:
        return None
    try:
        pattern = re.compile(id_pattern)
    except re.error as error:
        raise CourseError(f"--id-pattern is not a regular expression: {error}; correct it") from error
    if pattern.groups != 1:
        raise CourseError(
            f"--id-pattern has {pattern.groups} groups; put one pair of parentheses around the id, as in 'uid-([0-9]+)'"
        )
    return pattern


def read_table(path: Path, required: tuple[str, ...] = REQUIRED) -> CsvTable:
    """Read a CSV file: UTF-8 with or without a byte order mark, its cells separated by commas, semicolons or tabs.

    The names of the required columns are written as in `required`, however they are cased in the file.

    Raises:
        CourseError: If the file cannot be read, or a column is missing or there twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}; name a CSV file") from error
    except UnicodeDecodeError as error:
        raise CourseError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as 'CSV UTF-8' from your spreadsheet"
        ) from error
    tables = [_parsed(path, text, separator, required) for separator in _SEPARATORS]
    columns, rows, lines, separator, problem = max(
        tables, key=lambda parsed: (len(set(required) & set(parsed[0])), len(parsed[0]))
    )
    needed = [name for name in required if name != "group"]  # a class may have none
    missing = [name for name in needed if name not in columns]
    if missing:
        has = f"; it has {', '.join(map(repr, columns))}" if any(columns) else ""
        raise CourseError(f"{path} has no column {missing[0]!r} in its first line{has}; it needs {', '.join(needed)}")
    if problem:
        raise CourseError(f"{path}, {problem}")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise CourseError(f"{path} has two columns called {twice[0]!r}; rename or remove one")
    return CsvTable(columns, rows, lines, separator)


_Parsed = tuple[list[str], list[dict[str, str]], list[int], str, str]


def _parsed(path: Path, text: str, separator: str, required: tuple[str, ...]) -> _Parsed:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] = []
    rows, lines = [], []
    problem = ""
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = [name.casefold() if name.casefold() in required else name for name in cells]
                while not columns[-1]:
                    columns.pop()
                continue
            if any(cells[len(columns) :]):
                raise csv.Error("it has more cells than the first line; put a text with a separator in it into quotes")
            rows.append(dict(zip(columns, [*cells, *[""] * len(columns)], strict=False)))
            lines.append(reader.line_num)
    except csv.Error as error:
        problem = f"line {reader.line_num}: {error}"
    return columns, rows, lines, separator, problem
