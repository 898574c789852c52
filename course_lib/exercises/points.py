"""The points that `course.toml` of a fork gives to exercises and labs in place of the course's own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from course_lib.course_file import Course
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.exercises.spec import Exercise


def with_points(slug: str, found: list[Exercise], known: Iterable[str]) -> list[Exercise]:
    """Return the exercises of a lab with the points of this fork.

    Args:
        slug: The lab.
        found: Its exercises.
        known: All labs and exercises, of which `course.toml` may give the points.

    Raises:
        CourseError: If `course.toml` names something else, or the points of a lab do not go round.
    """
    course = own.course()
    if not course.points:
        return found
    known = set(known)
    for name in course.points:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean `{close[0]}`?" if close else ""
            raise CourseError(f"{course.place('points', name)} there is no exercise or lab called `{name}`{meant}")
    given = {each.id: course.points[each.id] for each in found if each.id in course.points}
    if slug in course.points:
        given |= _shared_out(course, slug, [each for each in found if each.id not in given], sum(given.values()))
    return [replace(each, points=given.get(each.id, each.points)) for each in found]


def _shared_out(course: Course, slug: str, others: list[Exercise], taken: int) -> dict[str, int]:
    """Share out the points of a lab among those of its exercises that have no line of their own.

    Whole points, at least one each, otherwise as nearly in proportion to the course's own points as can be: each next
    point goes to the exercise that has least for its weight (Webster's method).
    """
    left = course.points[slug] - taken
    if left < len(others) or (left and not others):
        needed = f"at least {taken + len(others)}" if others else str(taken)
        raise CourseError(
            f"{course.place('points', slug)} `{slug}` has {course.points[slug]} points, and its exercises need {needed}"
        )
    shares = {each.id: 1 for each in others}
    for _ in range(left - len(others)):
        shares[max(others, key=lambda each: each.points / (2 * shares[each.id] + 1)).id] += 1
    return shares
