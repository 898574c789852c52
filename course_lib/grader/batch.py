"""Grading a folder: every file gets a verdict, whatever is in it, and none can harm another."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.grader import sandbox as sandboxes
from course_lib.grader.exam import Exam
from course_lib.grader.folder import Entry, examine, find
from course_lib.grader.report import (
    claim,
    earlier_report,
    harmless,
    remove_stale,
    report_folder,
    sha256,
    submission_report,
    template,
    write_report,
    write_tables,
)
from course_lib.grader.submission import grade

_PACKAGE = Path(__file__).resolve().parents[1]


def grade_folder(
    submissions: Path | str,
    out: Path | str,
    lab: str | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    sandbox: str = "auto",
) -> int:
    """Grade every notebook below a folder; returns the exit code, 0 when every file got a verdict.

    lab: grade all files as this lab; by default the lab of a file is the one that owns most of its marks.
    seed: of the hidden cases; by default a secret one, kept in `out`. Files unchanged since they were graded
    with the same seed and the same exercises are not graded again.
    """
    began = time.monotonic()
    submissions, out = Path(submissions), Path(out)
    if lab is not None and lab not in exercises.labs():
        raise CourseError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    if sandbox not in ("auto", "require", "off"):
        raise CourseError(f"--sandbox is auto, require or off, not {sandbox!r}")
    if jobs is not None and jobs < 1:
        raise CourseError("--jobs must be at least 1")
    files, ignored = find(submissions)
    _prepare(out)
    try:
        level = sandboxes.choose(sandbox)
    except sandboxes.SandboxError as error:
        raise CourseError(str(error)) from error
    print(level.sentence, flush=True)

    seed = _secret(out) if seed is None else seed
    identity = {"seed_id": sha256(f"course seed {seed}")[:12], "sandbox": level.name, "course": _course_digest()}
    claim(out, submissions, identity["seed_id"])
    taken: set[str] = set()
    entries = [examine(path, submissions, lab) for path in files]
    for entry in entries:
        entry.folder = report_folder(out, entry.name, taken)
    reports = {e.name: submission_report(e, identity, []) for e in entries if e.reason}
    reports |= {e.name: old for e in entries if not e.reason and (old := earlier_report(e, identity))}
    waiting = [e for e in entries if e.name not in reports]
    kept = sum(not e.reason for e in entries) - len(waiting)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    exams = {slug: _exams(slug, seed) for slug in {e.lab for e in waiting if e.lab}}
    failures = _grade_all(waiting, exams, level, identity, reports, jobs or os.cpu_count() or 1)
    torch.set_num_threads(threads)

    for entry in entries:
        if entry.reason:
            try:
                write_report(entry.folder, reports[entry.name])
            except OSError as error:
                failures.append(f"{harmless(entry.name)}: {error}")
    done = [reports[e.name] for e in entries if e.name in reports]
    write_tables(out, {"seed_id": identity["seed_id"], "sandbox": level.name}, done)
    if stale := remove_stale(out, {e.folder for e in entries}):
        print(f"Removed {stale} earlier reports of submissions that are gone.")
    _summary(done, ignored, kept, failures, out, time.monotonic() - began)
    return 1 if failures else 0


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise CourseError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error


def _secret(out: Path) -> int:
    """The seed of this folder of grades: made once, kept where only the instructor looks, never in a report."""
    path = out / "seed.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["seed"])
    except FileNotFoundError:
        seed = secrets.randbits(63)
        write_text(path, json.dumps({"seed": seed}), private=True)
        return seed
    except (ValueError, KeyError, TypeError) as error:
        raise CourseError(
            f"{path} is damaged; restore it, or delete it and source.json beside it to grade everything afresh"
        ) from error


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
    waiting: list[Entry], exams: dict[str, list[Exam]], level: sandboxes.Level, identity: dict, reports: dict, jobs: int
) -> list[str]:
    """Grade in parallel, each report written as soon as it is there; returns what went wrong on our side."""
    stop, failures = threading.Event(), []
    template()  # compiled before the threads start: see `_parsing` in submission.py

    def one(entry: Entry) -> dict[str, Any] | None:
        if stop.is_set():
            return None
        graded = grade(entry.notebook, exams[entry.lab], level)
        report = submission_report(entry, identity, graded)
        write_report(entry.folder, report)
        return report

    bar = tqdm(total=len(waiting), unit="notebook", desc="grading", disable=None)
    with bar, ThreadPoolExecutor(min(jobs, max(1, len(waiting)))) as pool:
        running = {pool.submit(one, entry): entry for entry in waiting}
        try:
            for future in as_completed(running):
                bar.update()
                entry = running[future]
                try:
                    reports[entry.name] = future.result()
                except Exception as error:  # ours, not the submission's; the others go on
                    failures.append(f"{harmless(entry.name)}: {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            print("Stopping after the submissions in hand; the same command goes on from here.", file=sys.stderr)
            raise
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
