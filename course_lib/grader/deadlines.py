"""Deadlines: how late a submission is, and the points that this costs where the instructor wants it."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from course_lib import exercises
from course_lib.course_file import NAME, Course
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.grader.roster import Roster

EXTENSION, SUBMITTED = "extension", "submitted"  # columns of the roster; followed by a lab, for that lab alone
PERIODS = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Deadlines:
    """When the labs are due.

    Attributes:
        of_lab: The deadline of a lab; that of "" is for all labs without one of their own.
        rate: The share of a lab's points that lateness costs, for each `period` that has begun; 0 for none.
        period: A day or an hour; None where the cost is the same however late it is.
        extensions: A student's own deadline, by id and lab.
        submitted: When a student handed in, by id and lab, where the roster says so.
    """

    of_lab: dict[str, datetime]
    rate: float = 0.0
    period: timedelta | None = None
    extensions: dict[tuple[str, str], datetime] = field(default_factory=dict)
    submitted: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def apply_to(self, lab: str) -> bool:
        """Whether the lab has a deadline."""
        return lab in self.of_lab or "" in self.of_lab

    def late(self, student: str, lab: str, modified: str) -> timedelta:
        """Return how late a submission is, or 0. An extension that ends before the deadline changes nothing.

        Args:
            student: The id of the student.
            lab: The lab.
            modified: When the file was modified, as `modified_at` writes it; not known if empty.
        """
        times = self._times(student, lab, modified)
        return max(timedelta(0), times[1] - _end(times[0])) if times else timedelta(0)

    def told(self, student: str, lab: str, modified: str) -> str:
        """Return when a submission was due and handed in, and what lateness costs, as a report says it; see `late`."""
        times = self._times(student, lab, modified)
        if not times:
            return ""
        due, handed_in = times
        unit = {None: "Lateness", timedelta(days=1): "Each day begun"}.get(self.period, "Each hour begun")
        cost = f" {unit} costs {self.rate:.0%} of the points of the lab." if self.rate else ""
        own = " (your own deadline)" if _own(self.extensions, student, lab) == due else ""
        return f"Due {due:%Y-%m-%d %H:%M %Z}{own}, handed in {handed_in.astimezone(due.tzinfo):%Y-%m-%d %H:%M}.{cost}"

    def cost(self) -> str:
        """Return what lateness costs, in a sentence."""
        if not self.rate:
            return "Lateness is shown, and costs nothing."
        period = {None: "once", timedelta(days=1): "for each day begun"}.get(self.period, "for each hour begun")
        return f"Lateness costs {self.rate:.0%} of the points of the lab, {period}."

    def _times(self, student: str, lab: str, modified: str) -> tuple[datetime, datetime] | None:
        """Return when a submission was due and when it was handed in; None if one of these is not known."""
        due = self.of_lab.get(lab, self.of_lab.get(""))
        handed_in = _own(self.submitted, student, lab) or (datetime.fromisoformat(modified) if modified else None)
        if due is None or handed_in is None:
            return None
        return max(due, _own(self.extensions, student, lab) or due), handed_in

    def penalty(self, late: timedelta, points: float, most: float) -> float:
        """Return the points that lateness costs: a share of the points of the lab, and at most the points earned."""
        if not late or not self.rate:
            return 0.0
        periods = 1 if self.period is None else math.ceil(late / self.period)
        return round(min(points, self.rate * periods * most), 2)


def _own(times: dict[tuple[str, str], datetime], student: str, lab: str) -> datetime | None:
    return times.get((student, lab)) or times.get((student, ""))


def _end(due: datetime) -> datetime:
    """Return the end of a deadline: 23:59 lasts as long as clocks show it."""
    return due if due.second or due.microsecond else due + MINUTE


def read_deadlines(texts: list[str], penalty: str | None, roster: Roster) -> Deadlines | None:
    """Read what the command line, `course.toml` and the roster say about deadlines; None if no lab has one.

    Args:
        texts: "WHEN" or "LAB=WHEN". The first replaces all deadlines of `course.toml`, the second that of its lab.
        penalty: "10%/day", "1%/hour" or "20%", of the points of the lab; None for that of `course.toml`, if it has one.
        roster: The students. Its columns `extension` and `submitted` hold times, in the zone of the deadline where they
            name none; `extension LAB` and `submitted LAB` are for one lab.

    Raises:
        CourseError: If a time or the penalty cannot be read.
    """
    course, told = own.course(), dict[str, datetime]()
    for text in texts:
        lab, equals, when = text.partition("=")
        lab, when = (lab.strip(), when) if equals else ("", text)
        if lab:
            _check_lab(lab, "--deadline:")
        if lab in told:
            raise CourseError(f"--deadline is there twice for {lab or 'all labs'}; give one")
        told[lab] = parse_time(when, "--deadline")
    of_lab = told if "" in told else {**_of_course(course), **told}
    rate, period = _parse_penalty(penalty, "--late-penalty")
    if penalty is None and course.late_penalty:
        rate, period = _parse_penalty(course.late_penalty, f"{course.place('late_penalty')} `late_penalty`")
    if not of_lab:
        if penalty:
            raise CourseError(f"--late-penalty needs a --deadline, or deadlines in {NAME}")
        return None
    times: dict[str, dict[tuple[str, str], datetime]] = {EXTENSION: {}, SUBMITTED: {}}
    for column in roster.columns:
        kind, _, lab = column.casefold().partition(" ")
        if kind not in times:
            if meant := difflib.get_close_matches(kind, times, n=1, cutoff=0.8):
                raise CourseError(
                    f"the roster's column {column!r} looks like {meant[0]!r}, misspelt; correct it, or rename it"
                )
            continue
        if lab and lab not in exercises.labs():
            raise CourseError(f"the roster's column {column!r} is about no lab; name it {kind} or {kind} LAB")
        due = of_lab.get(lab) or of_lab.get("") or next(iter(of_lab.values()))
        for student in roster.students.values():
            if text := student.more[column]:
                times[kind][student.id, lab] = parse_time(text, f"{student.id}: {column}", due.tzinfo)
    return Deadlines(of_lab, rate, period, times[EXTENSION], times[SUBMITTED])


def announced(lab: str, course: Course) -> str:
    """Return when a lab is due and what lateness costs, as `course.toml` says it; "" if the lab has no deadline.

    Raises:
        CourseError: If the file names another lab, or a time or the penalty cannot be read.
    """
    due = _of_course(course).get(lab)
    if due is None:
        return ""
    rate, period = _parse_penalty(course.late_penalty or None, f"{course.place('late_penalty')} `late_penalty`")
    cost = f" {Deadlines({}, rate, period).cost()}" if rate else ""
    return f"Due {due:%Y-%m-%d %H:%M} {due.tzinfo}.{cost}"


def _of_course(course: Course) -> dict[str, datetime]:
    """Return the deadlines of `course.toml`."""
    of_lab = {}
    for lab, when in course.deadlines.items():
        place = course.place("deadlines", lab)
        _check_lab(lab, place)
        of_lab[lab] = parse_time(when, place.removesuffix(":"))
    return of_lab


def _check_lab(lab: str, place: str) -> None:
    if lab not in exercises.labs():
        raise CourseError(f"{place} there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")


def parse_time(text: str, what: str, zone: tzinfo | None = None) -> datetime:
    """Read a time: 2026-12-01T23:59+01:00, or 2026-12-01T23:59 Europe/Berlin. A day alone ends at 23:59.

    Args:
        text: The time.
        what: What the text is, for an error.
        zone: The zone of a text that names none; None if it has to.

    Raises:
        CourseError: If it is no such time.
    """
    example = "write it as 2026-12-01T23:59+01:00, or as '2026-12-01T23:59 Europe/Berlin'"
    text = text.strip()
    when, _, name = text.rpartition(" ")
    try:
        if when and name[0].isalpha():
            datetime.fromisoformat(when)  # what is no time at all is no mistake in a zone
            zone, text = _zone(name, what), when
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CourseError(f"{what}: {text!r} is no time; {example}") from None
    if re.fullmatch(r"[\dW-]+", text):
        time = time.replace(hour=23, minute=59)
    if time.tzinfo is None and zone is None:
        raise CourseError(f"{what}: {text!r} has no time zone; {example}")
    return time if time.tzinfo else time.replace(tzinfo=zone)


def _zone(name: str, what: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # ZoneInfoNotFoundError is a LookupError
        same = [zone for zone in sorted(available_timezones()) if zone.lower().rpartition("/")[2] == name.lower()]
        meant = f"did you mean {same[0]}?" if same else "take a name such as Europe/Berlin"
        raise CourseError(f"{what}: there is no time zone {name!r}; {meant}") from None


def _parse_penalty(text: str | None, what: str) -> tuple[float, timedelta | None]:
    if text is None:
        return 0.0, None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%(?:\s*/\s*(day|hour))?", text.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise CourseError(f"{what} is 10%/day, 1%/hour or 20% (once), not {text!r}")
    return float(found[1]) / 100, PERIODS.get(found[2])


def shown_late(late: timedelta) -> str:
    """Return how late it is, in words, to the minute that has begun; an empty text if it is not."""
    minutes = math.ceil(late / MINUTE)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{days} day{'s' if days > 1 else ''}"] if days else []
    parts += [f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min")) if count]
    return " ".join(parts)
