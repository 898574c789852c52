"""`course grade` grades a folder of submissions; `course check` checks one notebook from the shell."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.exam import Exam
from course_lib.grader.grades_folder import earlier_report, open_folder, remove_stale, report_folder, seed_id, sha256
from course_lib.grader.notebook import Unreadable, lab_of, read_notebook
from course_lib.grader.render import result_lines
from course_lib.grader.report import harmless, submission_report, template, was_slow, write_report, write_tables
from course_lib.grader.sandbox import WISHES, Level, choose_level
from course_lib.grader.submission import Submission, examine, grade

_PACKAGE = Path(__file__).resolve().parents[1]


def check_notebook(path: Path) -> int:
    """Run the visible checks on a notebook's exercises, and print what `check` would say.

    The code runs in the same sandbox as for grading: an endless loop is stopped, and none of your files is touched.

    Returns:
        The exit code: 0 if all exercises pass, else 1.

    Raises:
        CourseError: If the file is not a notebook of the course, or no sandbox works here.
    """
    if path.is_dir() or (not path.exists() and not path.suffix):
        raise CourseError(f"{path} is not a notebook; name one, such as my_labs/ch01_attention.ipynb")
    try:
        notebook = read_notebook(path)
        lab = lab_of(notebook)
        results = grade(notebook, [Exam(e) for e in exercises.of_lab(lab)], choose_level(), hide_values=False)
    except Unreadable as error:
        raise CourseError(f"{path} cannot be checked: {error}") from error
    for result in results:
        print("\n".join([*result_lines(result, hints=1), *result.notes, ""]))
    passed = sum(map(bool, results))
    print(f"{passed} of {len(results)} exercises of {lab} pass their visible checks.")
    return 0 if passed == len(results) else 1


def grade_folder(
    submissions: Path,
    out: Path,
    lab: str | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    sandbox: str = "auto",
) -> int:
    """Grade every notebook below a folder, each in a sandbox of its own, so that no submission can harm another.

    Files that have not changed since they were graded with the same seed and the same exercises are not graded again.

    Args:
        submissions: The folder of notebooks.
        out: The folder of grades.
        lab: The lab that all files are graded as; None to grade each file as the lab that owns most of its marks.
        seed: The seed of the hidden cases; None for a secret one, kept in `out`.
        jobs: The number of submissions graded in parallel; None for one per core.
        sandbox: "auto" (the strongest level that works), "require" (bubblewrap or stop) or "off".

    Returns:
        The exit code: 0 if every file got a verdict, else 1.

    Raises:
        CourseError: If an argument is invalid, or no sandbox works here.
    """
    began = time.monotonic()
    if lab is not None and lab not in exercises.labs():
        raise CourseError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    if sandbox not in WISHES:
        raise CourseError(f"--sandbox is auto, require or off, not {sandbox!r}")
    if jobs is not None and jobs < 1:
        raise CourseError("--jobs must be at least 1")
    files, ignored = find(submissions)
    seed = open_folder(out, submissions, seed)
    level = choose_level(sandbox)
    print(level.sentence, flush=True)

    identity = {"seed_id": seed_id(seed), "sandbox": level.name, "course": _course_digest()}
    found = [examine(path, submissions, lab) for path in files]
    taken: set[str] = set()
    for submission in found:
        submission.folder = report_folder(out, submission.name, taken)
        submission.report = earlier_report(submission, identity)
    waiting = [submission for submission in found if submission.report is None]
    failures = _grade_all(waiting, seed, level, identity, jobs or os.cpu_count() or 1)

    done = [submission.report for submission in found if submission.report]
    write_tables(out, {"seed_id": identity["seed_id"], "sandbox": level.name}, done)
    if stale := remove_stale(out, {submission.folder for submission in found}):
        print(f"Removed {stale} earlier reports of submissions that are gone.")
    graded = sum(report["verdict"] == "graded" for report in done)
    unchanged = len(found) - len(waiting)
    again = f", {unchanged} of them unchanged since last time" if unchanged else ""
    print(f"Graded {graded} of {len(found)} notebooks{again}, in {time.monotonic() - began:.0f} s.")
    for submission in found:
        if submission.reason:
            print(f"  ungradable: {harmless(submission.name)}: {submission.reason}")
    for failure in failures:
        print(f"  not graded, a failure of the grader: {failure}", file=sys.stderr)
    if failures:
        print("  Run the same command again: it grades only what has no verdict yet.", file=sys.stderr)
    if ignored:
        print(f"  {ignored} other files were left alone.")
    print(f"Grades: {out / 'grades.csv'}")
    return 1 if failures else 0


def find(submissions: Path) -> tuple[list[Path], int]:
    """List all notebooks below a folder, in order, and count the other files. Links to folders are not followed.

    Raises:
        CourseError: If there is no notebook, or no such folder.
    """
    if not submissions.is_dir():
        raise CourseError(f"{submissions} is not a folder; give the folder that holds the submitted notebooks")
    files, ignored = [], 0
    for folder, folders, names in os.walk(submissions):
        folders[:] = sorted(set(folders) - {".ipynb_checkpoints", "__MACOSX"})
        notebooks = [name for name in sorted(names) if name.endswith(".ipynb") and not name.startswith("._")]
        files += [Path(folder) / name for name in notebooks]
        ignored += len(names) - len(notebooks)
    if not files:
        raise CourseError(f"there is no notebook (*.ipynb) below {submissions}")
    return files, ignored


def _course_digest() -> str:
    """Compute a digest of all code that decides a grade: exercises and grader."""
    sources = sorted([*_PACKAGE.glob("exercises/**/*.py"), *_PACKAGE.glob("grader/**/*.py")])
    return sha256(*(path.read_bytes() for path in sources))[:12]


def _exams(slug: str, seed: int) -> list[Exam]:
    exams = []
    for exercise in exercises.of_lab(slug):
        exams.append(Exam(exercise, int(sha256(f"{seed} {exercise.id}")[:15], 16)))
        _ = exams[-1].rivals  # computed now, since several threads read them later
    return exams


def _grade_all(waiting: list[Submission], seed: int, level: Level, identity: dict[str, str], jobs: int) -> list[str]:
    """Grade in parallel, and write each report as soon as it is ready; return the errors of the grader itself.

    A submission that ran out of time by the clock is graded again at the end, alone, and only that report is written.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    slugs = {submission.lab for submission in waiting if not submission.reason}
    exams = {slug: _exams(slug, seed) for slug in slugs}
    template()  # compiled before the threads start: see `_parsing` in cells_needed.py
    failures: list[str] = []
    late: list[Submission] = []

    def grade_one(submission: Submission, alone: bool) -> None:
        try:
            results = [] if submission.reason else grade(submission.notebook, exams[submission.lab], level)
            report = submission_report(submission, identity, results)
            if was_slow(report) and not alone:
                late.append(submission)
                return
            write_report(submission.folder, report)
            submission.report = report
        except Exception as error:  # an error of the grader, not of the submission; the others continue
            failures.append(f"{harmless(submission.name)}: {type(error).__name__}: {error}")
        bar.update()

    bar = tqdm(total=len(waiting), unit="notebook", desc="grading", disable=None)
    with bar, ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(partial(grade_one, alone=min(jobs, len(waiting)) == 1), waiting))
            for submission in late:
                grade_one(submission, alone=True)
        except KeyboardInterrupt:  # no further submission is started
            print("Stopping after the submissions in hand; the same command goes on from here.", file=sys.stderr)
            raise
    torch.set_num_threads(threads)
    return failures
