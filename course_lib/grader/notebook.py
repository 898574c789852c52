"""The visible checks of a notebook, from the shell."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.exam import Exam
from course_lib.grader.read import Unreadable, read
from course_lib.grader.render import verdict_lines
from course_lib.grader.sandbox import SandboxError, choose
from course_lib.grader.submission import grade


def check_notebook(path: Path | str) -> int:
    """Run the visible checks on a notebook's exercises and print what `check` would say; 0 when all pass, else 1.

    It runs where grading runs, so a loop without end is stopped and nothing of yours is touched.
    """
    try:
        notebook = read(Path(path))
        owners = Counter(slug for id in notebook.marks if (slug := exercises.lab_of(id)))
        if not owners:
            raise Unreadable("it has no exercise: no cell begins with a mark such as `# EXERCISE: softmax`")
        lab = owners.most_common(1)[0][0]
        results = grade(notebook, [Exam(e) for e in exercises.of_lab(lab)], choose(), hide_values=False)
    except Unreadable as error:
        raise CourseError(f"{path} cannot be checked: {error}") from error
    except SandboxError as error:
        raise CourseError(str(error)) from error
    for result in results:
        if result.verdict is None:
            print(f"{result.exercise.id}: {result.problem}.")
        else:
            print("\n".join(verdict_lines(result.verdict, hints=1)))
        for note in result.notes:
            print(note)
        print()
    passed = sum(bool(result.verdict) for result in results)
    print(f"{passed} of {len(results)} exercises of {lab} pass their visible checks.")
    return 0 if passed == len(results) else 1
