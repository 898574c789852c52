"""What decides a grade besides the answer: the version of the course, and the hidden cases that follow from a seed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from course_lib import exercises
from course_lib.exercises import own
from course_lib.grader.exam import Exam
from course_lib.grader.grades_folder import sha256

_IMPORTED = re.compile(r"\bcourse_lib\.exercises\.(\w+)")
_PACKAGE = Path(__file__).resolve().parents[1]


def course_digest(lab: str) -> str:
    """Compute a digest of all that decides a grade in a lab.

    That is the code of the grader and of the lab's exercises, with those of other labs that they import, and the points
    of this fork. What changes in another lab changes no grade here, so nothing here is graded again.
    """
    sources = sorted([*_PACKAGE.glob("exercises/*.py"), *_PACKAGE.glob("grader/**/*.py")])
    packages = [lab]
    for package in packages:  # which grows
        files = sorted((_PACKAGE / "exercises" / package).glob("*.py")) if package else []
        files += [file for _, file in sorted(own.files().get(package, {}).items())]
        sources += files
        imported = {name for file in files for name in _IMPORTED.findall(file.read_text(encoding="utf-8"))}
        packages += sorted(imported.difference(packages) & set(exercises.labs()))
    points = json.dumps(own.course().points, sort_keys=True)
    return sha256(points, *(path.read_bytes() for path in sources))[:12]


def seed_of(seed: int, hand_in: int) -> int:
    """Return the seed of the hidden cases of a hand-in: that of the class for the first, another for each later one."""
    return seed if hand_in == 1 else int(sha256(f"{seed} hand-in {hand_in}")[:15], 16)


def exams_of(slug: str, seed: int) -> list[Exam]:
    """Return the exam of each exercise of a lab, with hidden cases from this seed."""
    exams = []
    for exercise in exercises.of_lab(slug):
        exams.append(Exam(exercise, int(sha256(f"{seed} {exercise.id}")[:15], 16)))
        _ = exams[-1].mistakes, exams[-1].slips  # made now, since several threads read them later
    return exams
