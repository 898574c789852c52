"""What `run_autograder` runs for each submission: it reads /autograder/submission and writes results.json.

python -m course_lib.grader.gradescope.run /autograder
"""

from __future__ import annotations

import itertools
import json
import sys
import traceback
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.grader.command import find
from course_lib.grader.exam import Exam, Result
from course_lib.grader.hidden import exams_of, seed_of
from course_lib.grader.in_turn import later_exams
from course_lib.grader.render import result_lines
from course_lib.grader.report import harmless
from course_lib.grader.sandbox import Workers, choose_level
from course_lib.grader.submission import Submission, examine, grade_with
from course_lib.grader.worker_client import WorkerClient

SETTINGS = "settings.json"
VISIBILITIES = ("after_published", "after_due_date", "hidden", "visible")  # Gradescope's words
MOST_NAMED = 5


def results_of(root: Path) -> dict[str, Any]:
    """Grade what was handed in, and return the content of results.json.

    Of each exercise there are two entries. What the checks in the notebook say is visible at once and has no points.
    What the hidden cases say has the points, and is shown when the instructor wants.

    Args:
        root: The folder that is /autograder on Gradescope.
    """
    settings = json.loads((root / "source" / SETTINGS).read_text(encoding="utf-8"))
    lab = settings["lab"]
    try:
        submission = chosen(root / "submission", lab)
    except CourseError as error:
        return nothing(settings, str(error))
    level = choose_level(settings["sandbox"])
    print(level.sentence)  # on standard output, which instructors alone see
    # The points first: they must not be short of time.
    with Workers(level) as workers, closing(WorkerClient(workers)) as client:
        versions = [exams_of(lab, seed_of(settings["seed"], hand_in)) for hand_in in sorted({1, _hand_in(root)})]
        for exam in itertools.chain(*versions):
            exam.exercise = replace(exam.exercise, points=settings["points"][exam.exercise.id])
        exams = later_exams(*versions) if len(versions) > 1 else versions[0]
        hidden = grade_with(client, submission.notebook, exams)
        visible_exams = [Exam(exercise) for exercise in exercises.of_lab(lab)]
        visible = grade_with(client, submission.notebook, visible_exams, hide_values=False)
    tests = []
    for graded, checked in zip(hidden, visible, strict=True):
        tests += [_checks(checked), _points(graded, settings["hidden"])]
    return {
        "output": f"Graded as {lab}: {harmless(submission.name)}.ipynb. Points are for the hidden cases.",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {"lab": lab, "sandbox": level.name},
    }


def _hand_in(root: Path) -> int:
    """Return which hand-in of the student this is, as Gradescope counts: later ones meet hidden cases of their own."""
    try:
        metadata = json.loads((root / "submission_metadata.json").read_text(encoding="utf-8"))
        return len(metadata["previous_submissions"]) + 1
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def chosen(folder: Path, lab: str) -> Submission:
    """Return the one notebook of the lab that was handed in.

    Raises:
        CourseError: If there is none, or more than one.
    """
    try:
        files, _, _ = find(folder)
    except CourseError:
        others = sorted(path.name for path in folder.rglob("*") if path.is_file())
        came = f"what came is {_named(others)}" if others else "nothing came"
        raise CourseError(f"No notebook was handed in: {came}. Hand in {lab}.ipynb.") from None
    found = [examine(path, folder, lab) for path in files]
    good = [submission for submission in found if submission.reason is None]
    if len(good) > 1:
        names = _named([submission.name for submission in good])
        raise CourseError(f"There are {len(good)} notebooks of {lab}: {names}. Hand in the one that counts.")
    if not good:
        reasons = _named([f"{submission.name}.ipynb: {submission.reason}" for submission in found], "; ")
        raise CourseError(f"No notebook of {lab} could be read. {reasons}.")
    return good[0]


def _named(names: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return separator.join(harmless(name)[:300] for name in names[:MOST_NAMED]) + more


def nothing(settings: dict[str, Any], sentence: str) -> dict[str, Any]:
    """Return the content of results.json where nothing could be graded: no points, and why."""
    most = sum(settings["points"].values())
    entry = {"name": "What was handed in", "score": 0.0, "max_score": most, "status": "failed", "output": sentence}
    return {"output": sentence, "stdout_visibility": "hidden", "tests": [{**entry, "visibility": "visible"}]}


def _checks(result: Result) -> dict[str, Any]:
    return {
        "name": f"{result.exercise.id}: checks of the notebook",
        "status": "passed" if result else "failed",
        "output": "\n".join([*result_lines(result, hints=1), *result.notes]),
        "visibility": "visible",
    }


def _points(result: Result, visibility: str) -> dict[str, Any]:
    lines = [result.summary, result.mistake, result.diagnosis, *result.notes]
    if result.avoided:
        lines.append(f"It uses {', '.join(result.avoided)}, which the exercise does without; points unchanged.")
    return {
        "name": f"{result.exercise.id}: hidden cases",
        "score": result.points,
        "max_score": result.exercise.points,
        "status": "passed" if result else "failed",
        "output": "\n".join(line for line in lines if line),
        "visibility": visibility,
    }


def main() -> None:
    """Write results.json; if the grader itself fails, leave the one that says so, and print why for the instructor."""
    root = Path(sys.argv[1])
    try:
        results = results_of(root)
    except Exception:  # results.json is there already: see run_autograder
        traceback.print_exc(file=sys.stdout)
        return
    write_text(root / "results" / "results.json", json.dumps(results, indent=1))
    print(f"Points: {sum(test.get('score', 0) for test in results['tests']):g}")


if __name__ == "__main__":
    main()
