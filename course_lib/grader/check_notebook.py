"""`course check`: the visible checks of a notebook, from the shell."""

from __future__ import annotations

from pathlib import Path

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.exam import Exam
from course_lib.grader.notebook import Unreadable, lab_of, read_notebook
from course_lib.grader.render import verdict_lines
from course_lib.grader.sandbox import SandboxError, choose_level
from course_lib.grader.sentences import no_code, notes
from course_lib.grader.submission import grade


def check_notebook(path: Path | str) -> int:
    """Run the visible checks on a notebook's exercises and print what `check` would say.

    It runs where grading runs, so a loop without end is stopped and nothing of yours is touched.

    Returns:
        The exit code: 0 when all pass, else 1.

    Raises:
        CourseError: The file is no notebook of the course, or no sandbox works here.
    """
    try:
        notebook = read_notebook(Path(path))
        lab = lab_of(notebook)
        results = grade(notebook, [Exam(e) for e in exercises.of_lab(lab)], choose_level(), hide_values=False)
    except Unreadable as error:
        raise CourseError(f"{path} cannot be checked: {error}") from error
    except SandboxError as error:
        raise CourseError(str(error)) from error
    for result in results:
        if result.verdict is None:
            print(f"{result.exercise.id}: {no_code(result.exercise, result.problem)}.")
        else:
            print("\n".join(verdict_lines(result.verdict, hints=1)))
        for note in notes(result.repeated, result.replaced):
            print(note)
        print()
    passed = sum(bool(result.verdict) for result in results)
    print(f"{passed} of {len(results)} exercises of {lab} pass their visible checks.")
    return 0 if passed == len(results) else 1
