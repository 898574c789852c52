"""`course grade`: every file of a folder gets a verdict, whatever is in it, and none can harm another."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.exam import Exam
from course_lib.grader.grades_folder import (
    claim,
    earlier_report,
    prepare,
    remove_stale,
    report_folder,
    secret_seed,
    sha256,
)
from course_lib.grader.report import harmless, submission_report, template, write_report, write_tables
from course_lib.grader.sandbox import Level, SandboxError, choose_level
from course_lib.grader.submission import Submission, examine, grade

_PACKAGE = Path(__file__).resolve().parents[1]


def grade_folder(
    submissions: Path | str,
    out: Path | str,
    lab: str | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    sandbox: str = "auto",
) -> int:
    """Grade every notebook below a folder, each in a sandbox of its own.

    Files unchanged since they were graded with the same seed and the same exercises are not graded again.

    Args:
        submissions: The folder of notebooks.
        out: The folder of grades.
        lab: Grade all files as this lab; by default the lab of a file is the one that owns most of its marks.
        seed: Of the hidden cases; by default a secret one, kept in `out`.
        jobs: Submissions graded at once; by default one for each core.
        sandbox: "auto" (the strongest level that works), "require" (bubblewrap or stop) or "off".

    Returns:
        The exit code: 0 when every file got a verdict, else 1.

    Raises:
        CourseError: An argument makes no sense, or no sandbox works here.
    """
    began = time.monotonic()
    submissions, out = Path(submissions), Path(out)
    _check_arguments(lab, sandbox, jobs)
    files, ignored = find(submissions)
    prepare(out)
    try:
        level = choose_level(sandbox)
    except SandboxError as error:
        raise CourseError(str(error)) from error
    print(level.sentence, flush=True)

    seed = secret_seed(out) if seed is None else seed
    identity = {"seed_id": sha256(f"course seed {seed}")[:12], "sandbox": level.name, "course": _course_digest()}
    claim(out, submissions, identity["seed_id"])
    found = [examine(path, submissions, lab) for path in files]
    taken: set[str] = set()
    for submission in found:
        submission.folder = report_folder(out, submission.name, taken)
    reports, waiting = _without_grading(found, identity)
    kept = len(reports) - sum(submission.reason is not None for submission in found)
    failures = _grade_all(waiting, seed, level, identity, reports, jobs or os.cpu_count() or 1)
    failures += _write_ungradable(found, reports)

    done = [reports[submission.name] for submission in found if submission.name in reports]
    write_tables(out, {"seed_id": identity["seed_id"], "sandbox": level.name}, done)
    if stale := remove_stale(out, {submission.folder for submission in found}):
        print(f"Removed {stale} earlier reports of submissions that are gone.")
    _summary(done, ignored, kept, failures, out, time.monotonic() - began)
    return 1 if failures else 0


def find(submissions: Path) -> tuple[list[Path], int]:
    """All notebooks below a folder, in order, and how many other files there are. Links to folders are not followed.

    Raises:
        CourseError: There is no notebook, or no such folder.
    """
    if not submissions.is_dir():
        raise CourseError(f"{submissions} is not a folder; give the folder that holds the submitted notebooks")
    files, ignored = [], 0
    for folder, folders, names in os.walk(submissions):
        folders[:] = sorted(f for f in folders if f not in (".ipynb_checkpoints", "__MACOSX"))
        for name in sorted(names):
            if name.endswith(".ipynb") and not name.startswith("._"):
                files.append(Path(folder) / name)
            else:
                ignored += 1
    if not files:
        raise CourseError(f"there is no notebook (*.ipynb) below {submissions}")
    return files, ignored


def _check_arguments(lab: str | None, sandbox: str, jobs: int | None) -> None:
    if lab is not None and lab not in exercises.labs():
        raise CourseError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    if sandbox not in ("auto", "require", "off"):
        raise CourseError(f"--sandbox is auto, require or off, not {sandbox!r}")
    if jobs is not None and jobs < 1:
        raise CourseError("--jobs must be at least 1")


def _without_grading(found: list[Submission], identity: dict[str, str]) -> tuple[dict[str, Any], list[Submission]]:
    """Reports on what cannot be graded and on what has not changed, by name; and the submissions that are left."""
    reports, waiting = {}, []
    for submission in found:
        if submission.reason:
            reports[submission.name] = submission_report(submission, identity, [])
        elif earlier := earlier_report(submission, identity):
            reports[submission.name] = earlier
        else:
            waiting.append(submission)
    return reports, waiting


def _write_ungradable(found: list[Submission], reports: dict[str, Any]) -> list[str]:
    """Write the reports on files that cannot be graded; returns what went wrong on our side."""
    failures = []
    for submission in found:
        if submission.reason:
            try:
                write_report(submission.folder, reports[submission.name])
            except OSError as error:
                failures.append(f"{harmless(submission.name)}: {error}")
    return failures


def _course_digest() -> str:
    """Of all that decides a grade: exercises and grader."""
    sources = sorted([*_PACKAGE.glob("exercises/**/*.py"), *_PACKAGE.glob("grader/**/*.py")])
    return sha256(*(path.read_bytes() for path in sources))[:12]


def _exams(slug: str, seed: int) -> list[Exam]:
    exams = []
    for exercise in exercises.of_lab(slug):
        exams.append(Exam(exercise, int(sha256(f"{seed} {exercise.id}")[:15], 16)))
        _ = exams[-1].rivals  # now, since afterwards several threads read them
    return exams


def _grade_all(
    waiting: list[Submission],
    seed: int,
    level: Level,
    identity: dict[str, str],
    reports: dict[str, Any],
    jobs: int,
) -> list[str]:
    """Grade in parallel, each report written as soon as it is there; returns what went wrong on our side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    exams = {slug: _exams(slug, seed) for slug in {submission.lab for submission in waiting}}
    stop, failures = threading.Event(), []
    template()  # compiled before the threads start: see `_parsing` in cells_needed.py

    def grade_one(submission: Submission) -> dict[str, Any] | None:
        if stop.is_set():
            return None
        graded = grade(submission.notebook, exams[submission.lab], level)
        report = submission_report(submission, identity, graded)
        write_report(submission.folder, report)
        return report

    bar = tqdm(total=len(waiting), unit="notebook", desc="grading", disable=None)
    with bar, ThreadPoolExecutor(min(jobs, max(1, len(waiting)))) as pool:
        running = {pool.submit(grade_one, submission): submission.name for submission in waiting}
        try:
            for future in as_completed(running):
                bar.update()
                name = running[future]
                try:
                    reports[name] = future.result()
                except Exception as error:  # ours, not the submission's; the others go on
                    failures.append(f"{harmless(name)}: {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            print("Stopping after the submissions in hand; the same command goes on from here.", file=sys.stderr)
            raise
    torch.set_num_threads(threads)
    return failures


def _summary(done: list[dict], ignored: int, kept: int, failures: list[str], out: Path, seconds: float) -> None:
    graded = [r for r in done if r["verdict"] == "graded"]
    bad = [r for r in done if r["verdict"] != "graded"]
    again = f", {kept} of them unchanged since last time" if kept else ""
    print(f"Graded {len(graded)} of {len(done) + len(failures)} notebooks{again}, in {seconds:.0f} s.")
    for report in bad:
        print(f"  ungradable: {harmless(report['name'])}: {report['reason']}")
    for failure in failures:
        print(f"  not graded, a failure of the grader: {failure}", file=sys.stderr)
    if ignored:
        print(f"  {ignored} other files were left alone.")
    print(f"Grades: {out / 'grades.csv'}")
