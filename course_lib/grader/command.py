"""`course grade` grades a folder of submissions; `course check` checks one notebook from the shell."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.grader.archives import unpack
from course_lib.grader.class_page import PAGE, write_class_page
from course_lib.grader.cluster import connected
from course_lib.grader.exam import Exam
from course_lib.grader.grades_folder import (
    earlier_report,
    earlier_times,
    kept_report,
    open_folder,
    remove_stale,
    report_folder,
    reports_in,
    reports_of_others,
    seed_id,
)
from course_lib.grader.hand_ins import number_hand_ins
from course_lib.grader.hidden import course_digest, exams_of, seed_of
from course_lib.grader.in_turn import InTurn, later_exams
from course_lib.grader.kept_options import keep
from course_lib.grader.notebook import Unreadable, lab_of, read_notebook
from course_lib.grader.provenance import now, of_run
from course_lib.grader.render import hint_lines, result_lines
from course_lib.grader.report import (
    harmless,
    submission_report,
    template,
    was_slow,
    write_page,
    write_report,
    write_tables,
)
from course_lib.grader.result_file import result_file
from course_lib.grader.rules import RULES, rules_of
from course_lib.grader.sandbox import WISHES, Level, Workers, choose_level
from course_lib.grader.students import (
    TABLE,
    Class,
    better_versions,
    by_hand_before,
    changed_points,
    modified_at,
    mostly_late,
    named,
    read_earlier,
    standing,
    student_rows,
    unassigned,
    unmarked,
    without_points,
    write_students,
)
from course_lib.grader.submission import Submission, examine, grade, handed_out

MOST_CHANGES = 20  # of points that are printed; all of them are in the file
MOST_OTHERS = 10  # files without a notebook that are named
CHANGES = "changes.txt"


def check_notebook(path: Path, hints: bool = False, result_to: Path | None = None) -> int:
    """Run the visible checks on a notebook's exercises, and print what `check` would say.

    The code runs in the same sandbox as for grading: an endless loop is stopped, and none of your files is touched.

    Args:
        path: The notebook.
        hints: Whether to print both hints of each exercise that does not pass, also where nothing was tried.
        result_to: A JSON file for the results, as workflows on GitHub read it; None for no file.

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
        with Workers(choose_level()) as workers:
            results = grade(notebook, [Exam(e) for e in exercises.of_lab(lab)], workers, hide_values=False)
    except Unreadable as error:
        raise CourseError(f"{path} cannot be checked: {error}") from error
    for result in results:
        asked_for = hint_lines(result.exercise, 2) if hints and not result else []
        print("\n".join([*result_lines(result, hints=0 if hints else 1), *asked_for, *result.notes, ""]))
    if result_to:
        write_text(result_to, json.dumps(result_file(lab, results, os.environ), indent=1) + "\n")
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
    group: Class | None = None,
    similarity: bool = True,
    cluster: str | None = None,
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
        group: The students, for a table with a row for each; None for grades of files alone.
        similarity: Whether the page of the class shows which answers are alike.
        cluster: The address of a Ray cluster to grade on; None for this machine.

    Returns:
        The exit code: 0 if every file got a verdict, else 1.

    Raises:
        CourseError: If an argument is invalid, or no sandbox works here.
    """
    began = time.monotonic()
    _check_options(lab, jobs, sandbox, cluster)
    with tempfile.TemporaryDirectory(prefix="course-unpacked-") as name:
        unpacked = Path(name)
        files, ignored, of_grades = find(submissions, out, unpacked)
        roots = [unpacked if path.is_relative_to(unpacked) else submissions for path in files]
        found = [examine(path, root, lab) for path, root in zip(files, roots, strict=True)]
        times = {submission.name: modified_at(path) for submission, path in zip(found, files, strict=True)}
    for folder in of_grades:
        print(f"  {folder} is a folder of grades, and is left out; better keep it outside of {submissions}.")
    if group:
        names = [submission.name for submission in found]
        if not any(map(group.roster.owners, names)):
            some = next(iter(group.roster.students))
            raise CourseError(
                f"no path below {submissions} has an id of the roster: ids are like {some!r}, paths like {names[0]!r}; "
                "make them agree, or give --id-pattern"
            )
        read_earlier(out, group.roster)  # what is wrong with students.csv is said before anything is graded
    seed = open_folder(out, submissions, seed)
    if group:
        keep(out, {**group.options, RULES: rules_of(group)})
    level = choose_level(sandbox)
    print(level.sentence, flush=True)

    header: dict[str, Any] = {"seed_id": seed_id(seed), "sandbox": level.name}
    versions = {slug: course_digest(slug) for slug in {submission.lab for submission in found}}
    number_hand_ins(out, found, times, group.team if group else lambda name, lab: None)
    for submission in found:
        submission.identity = {**header, "course": versions[submission.lab], "hand_in": submission.hand_in}
    waiting = _take_up(found, out, group)
    made = of_run(group.deadlines if group else None)
    with _Desk(len(waiting), made["commit"]) as desk:
        if cluster and waiting:
            _grade_on_cluster(desk, waiting, seed, level, cluster)
        elif waiting:
            _grade_all(desk, waiting, seed, level, jobs or os.cpu_count() or 1)
    failures = desk.failures

    for submission in found:
        if submission.report is None and group and group.only:
            submission.report = kept_report(submission)
    folders = {submission.folder for submission in found}
    others = [path.relative_to(submissions).as_posix() for path in ignored]
    # What was graded is said before the tables are written: a row of students.csv that is wrong by now would stop that.
    _tell(found, waiting, failures, others, time.monotonic() - began, group)
    said = _write_class(out, {**header, "made": made}, found, folders, times, group, similarity, others)
    if not (group and group.only) and (stale := remove_stale(out, folders)):
        print(f"Removed {stale} earlier reports of submissions that are gone.")
    places = [f"Grades: {out / 'grades.csv'}", *([f"Students: {out / TABLE}"] if group else [])]
    print("\n".join([*said, *places, f"The class: {out / PAGE}", _next(out, group)]))
    return 1 if failures else 0


def _check_options(lab: str | None, jobs: int | None, sandbox: str, cluster: str | None) -> None:
    """Raise a CourseError if there is no grading here, or an option has a wrong value; see `grade_folder`."""
    if exercises.is_student_version():
        raise CourseError("this is a student version, without hidden cases; grade with the full course")
    if lab is not None and lab not in exercises.labs():
        raise CourseError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    if sandbox not in WISHES:
        raise CourseError(f"--sandbox is auto, require or off, not {sandbox!r}")
    if jobs is not None and cluster is not None:
        raise CourseError("--jobs is for this machine; a cluster grades as many at once as it has cores")
    if jobs is not None and jobs < 1:
        raise CourseError("--jobs must be at least 1")


def _take_up(found: list[Submission], out: Path, group: Class | None) -> list[Submission]:
    """Give each submission its folder and what an earlier run reported; return those that are graded now."""
    taken: set[str] = set()
    for submission in found:
        submission.folder = report_folder(out, submission.name, taken)
        if group is None or group.only is None:
            submission.report = earlier_report(submission)
        elif not group.is_chosen(submission.name):
            submission.report = kept_report(submission)
    if group is None or group.only is None:
        return [submission for submission in found if submission.report is None]
    chosen = [submission for submission in found if group.is_chosen(submission.name)]
    if not chosen:
        raise CourseError(f"--only: no submission belongs to {group.only}; look at the paths, or give --id-pattern")
    return chosen


def _write_class(
    out: Path,
    header: dict[str, Any],
    found: list[Submission],
    folders: set[Path],
    times: dict[str, str],
    group: Class | None,
    similarity: bool,
    others: list[str],
) -> list[str]:
    """Write the tables and the page of the class; return what there is to say about students."""
    done = [submission.report for submission in found if submission.report]
    places = {submission.name: submission.folder for submission in found}
    if group is None:
        write_tables(out, header, done)
        write_class_page(out, done, places, similarity=similarity)
        if (out / TABLE).exists():
            return [f"  {out / TABLE} is as it was, since there was no --roster; give it to renew the table."]
        return []
    if group.only:  # what is gone from the folder stays in the tables until all is graded again
        done += [report for report in reports_of_others(out, folders) if not group.is_chosen(report["name"])]
        kept = {name: time for name, time in earlier_times(out).items() if not group.is_chosen(name)}
        times = {**times, **kept}
        levels = {report["sandbox"] for report in done} or {header["sandbox"]}
        header = {**header, "sandbox": " and ".join(sorted(levels))}
    entries = group.entries(done, times)
    no_notebooks = group.other_files(others)
    write_tables(out, {**header, "count": group.count, "no_notebooks": no_notebooks}, done, entries)
    earlier = read_earlier(out, group.roster)  # again: a teacher may have written into it meanwhile
    without = [submission.name for submission in found if submission.report is None]
    columns, rows = student_rows(group, done, entries, without, no_notebooks, earlier)
    changes = changed_points(rows, earlier)
    told = [*earlier.said, *(f"{harmless(id)}, {sentence}" for id, sentence in by_hand_before(rows))]
    edited = write_students(out, columns, rows, group.roster, earlier)
    with_any = {id for entry in entries.values() for id in entry.get("members", ())}
    missing = {harmless(id): no_notebooks.get(id, []) for id in group.roster.students if id not in with_any}
    lacking = without_points(rows, [name for name in columns if name in exercises.labs()])
    labels = {key: student.label for id, student in group.roster.students.items() for key in (id, harmless(id))}
    nobodys = unassigned(entries)
    write_class_page(out, done, places, entries, missing, similarity, labels, nobodys, lacking)
    by_id = {row["id"]: row for row in rows}
    for report in done:
        entry = entries[report["name"]]
        if report["name"] in places and entry["student"]:
            write_page(places[report["name"]], report, standing(group, report, entry, by_id))
    said = [*(f"  of no student: {sentence}" for sentence in nobodys), *(f"  {sentence}" for sentence in told)]
    said += _said_of_labs(group, done, entries, missing, lacking)
    if changes:
        with open(out / CHANGES, "a", encoding="utf-8") as file:
            file.writelines(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {change}\n" for change in changes)
        said += [f"  points changed: {change}" for change in changes[:MOST_CHANGES]]
        said.append(f"  Changed points: {len(changes)}, in {out / CHANGES}. A gradebook may still have the old ones.")
    versions = {lab: course_digest(lab) for lab in {report["lab"] or "" for report in done}}
    if old := sum(report["course"] != versions[report["lab"] or ""] for report in done):
        said.append(
            f"  {old} of the others have grades from another version of the course; leave out --only to renew them."
        )
    return [*said, *([f"  {edited}"] if edited else [])]


def _said_of_labs(
    group: Class,
    reports: list[dict[str, Any]],
    entries: dict[str, dict[str, Any]],
    missing: dict[str, list[str]],
    lacking: dict[str, list[str]],
) -> list[str]:
    """Return what there is to say of versions, of who has handed in nothing, or not a lab, and of lateness."""
    said = [f"  {harmless(ids)}, {sentence}" for ids, sentence in better_versions(reports, entries)]
    if said:
        said = [*said[:MOST_CHANGES], "  Where an earlier version has more points, you may want --count best."]
    for id, names in missing.items():
        but = f", but with other files: {', '.join(map(harmless, names))}" if names else ""
        said.append(f"  without any {'notebook' if names else 'submission'}: {id}{but}")
    if len(lacking) > 1:  # of one lab it has been said
        said += [f"  without points in {lab}: {named(ids)}" for lab, ids in lacking.items() if ids]
    if group.deadlines and not group.deadlines.submitted:
        labs = {report["name"]: report["lab"] for report in reports}
        said += [f"  {sentence}" for sentence in mostly_late(entries, labs)]
    return said


def _next(out: Path, group: Class | None) -> str:
    """Return what there is to do after grading."""
    look = f"Next: look at {out / PAGE}"
    if group is None:
        return f"{look}. With --roster you get a table of students, and files for Canvas, Moodle or to hand out."
    return (
        f"{look}; write points by hand and comments into {out / TABLE} and run this again; then "
        f"course grade-export {out} --to canvas, moodle or reports."
    )


def _tell(
    found: list[Submission],
    waiting: list[Submission],
    failures: list[str],
    others: list[str],
    seconds: float,
    group: Class | None,
) -> None:
    """Print what was graded and what was not."""
    if group and group.only:
        print(f"Graded the notebooks of {group.only} again ({len(waiting)}), in {seconds:.0f} s; the others stay.")
    else:
        graded = sum(submission.report is not None and submission.report["verdict"] == "graded" for submission in found)
        unchanged = len(found) - len(waiting)
        again = f", {unchanged} of them unchanged since last time" if unchanged else ""
        print(f"Graded {graded} of {len(found)} notebooks{again}, in {seconds:.0f} s.")
    for submission in found:
        if submission.reason:
            print(f"  ungradable: {harmless(submission.name)}: {submission.reason}")
        for sentence in unmarked(submission.report) if submission.report else ():
            print(f"  {harmless(submission.name)}: {sentence}")
    for failure in failures:
        print(f"  not graded, a failure of the grader: {failure}", file=sys.stderr)
    if failures:
        what = "" if group and group.only else ": it grades only what has no verdict yet"
        print(f"  Run the same command again{what}.", file=sys.stderr)
    if others:
        named = [harmless(name) for name in others if not name.rpartition("/")[2].startswith(".")]
        more = f", and {len(named) - MOST_OTHERS} more" if len(named) > MOST_OTHERS else ""
        names = f": {', '.join(named[:MOST_OTHERS])}{more}" if named else ""
        print(f"  {len(others)} other {'file was' if len(others) == 1 else 'files were'} left alone{names}.")


def find(
    submissions: Path, out: Path | None = None, unpacked: Path | None = None
) -> tuple[list[Path], list[Path], list[Path]]:
    """List all notebooks below a folder, in order, all other files, and the folders of grades, which are left out.

    Links to folders are not followed.

    Args:
        submissions: The folder.
        out: The folder of the grades of this run. Those of other runs are told by what is in them.
        unpacked: An empty folder for the notebooks of zip archives, which are found there under the archive's own path
            below `submissions`; None to leave archives alone.

    Raises:
        CourseError: If there is no notebook, or no such folder.
    """
    if not submissions.is_dir():
        raise CourseError(f"{submissions} is not a folder; give the folder that holds the submitted notebooks")
    files: list[Path] = []
    others: list[Path] = []
    # Said in the first run already, in which it is not there yet.
    of_grades = [out] if out and not out.exists() and submissions.resolve() in out.resolve().parents else []
    for name, folders, names in os.walk(submissions):
        folder = Path(name)
        is_out = out is not None and folder.resolve() == out.resolve()
        if is_out and folder == submissions:
            raise CourseError(f"--out is {submissions} itself; choose a folder of its own, best outside of it")
        if folder != submissions and (is_out or {"seed.json", "grades.json"} <= set(names)):
            folders.clear()
            of_grades.append(folder)
            continue
        folders[:] = sorted(set(folders) - {".ipynb_checkpoints", "__MACOSX"})
        for name in sorted(names):
            path = folder / name
            inside = unpack(path, unpacked / path.relative_to(submissions)) if unpacked and _is_archive(name) else []
            is_notebook = name.casefold().endswith(".ipynb") and not name.startswith("._")
            if inside:
                files += inside
            else:
                (files if is_notebook else others).append(path)
    if not files:
        raise CourseError(f"there is no notebook (*.ipynb) below {submissions}")
    return files, others, of_grades


def _is_archive(name: str) -> bool:
    return name.casefold().endswith(".zip") and not name.startswith("._")


@contextmanager
def kept_when_stopped(out: Path) -> Iterator[None]:
    """If grading is stopped from the keyboard, say what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        done = len(reports_in(out))
        reports = f"{done} report{' stays' if done == 1 else 's stay'} in {out}" if done else "Nothing is graded yet"
        tables = "; the tables there are as they were" if (out / "grades.json").exists() else ""
        print(f"Stopped. {reports}{tables}. The same command goes on from here.", file=sys.stderr)
        raise


def _grade_all(desk: _Desk, waiting: list[Submission], seed: int, level: Level, jobs: int) -> None:
    """Grade in parallel, and write each report as soon as it is ready.

    A submission that ran out of time by the clock is graded again at the end, alone, and only that report is written.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    kinds = {(submission.lab, submission.hand_in) for submission in waiting if not submission.reason}
    kinds |= {(slug, 1) for slug, _ in kinds}
    exams = {(slug, hand_in): exams_of(slug, seed_of(seed, hand_in)) for slug, hand_in in sorted(kinds)}
    for slug, _ in exams:
        handed_out(slug)  # now, since several threads read it later
    template()  # compiled before the threads start: see `_parsing` in cells_needed.py

    def exams_for(submission: Submission) -> Sequence[Exam | InTurn]:
        first, own = (exams[submission.lab, hand_in] for hand_in in (1, submission.hand_in))
        return first if own is first else later_exams(first, own)

    def grade_one(submission: Submission, alone: bool) -> None:
        try:
            results = [] if submission.reason else grade(submission.notebook, exams_for(submission), workers)
            desk.take(submission, submission_report(submission, results), alone)
        except Exception as error:  # an error of the grader, not of the submission; the others continue
            desk.take(submission, error, alone)

    with Workers(level) as workers, ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(partial(grade_one, alone=min(jobs, len(waiting)) == 1), waiting))
            for submission in desk.late:
                grade_one(submission, alone=True)
        except KeyboardInterrupt:  # no further submission is started
            print("Stopping after the submissions in hand ...", file=sys.stderr, flush=True)
            raise
    torch.set_num_threads(threads)


def _grade_on_cluster(desk: _Desk, waiting: list[Submission], seed: int, level: Level, address: str) -> None:
    """Do what `_grade_all` does, on the nodes of a Ray cluster."""
    with connected(address, seed, level) as cluster:
        print(f"Cluster: {sum(cluster.nodes)} cores on {len(cluster.nodes)} nodes, each with a sandbox of its own.")
        for submission, report in cluster.grade(waiting, alone=False):
            desk.take(submission, report, alone=False)
        for submission, report in cluster.grade(desk.late, alone=True):
            desk.take(submission, report, alone=True)


class _Desk:
    """Takes reports as they come, writes them, and shows how many there are.

    Attributes:
        failures: The errors of the grader itself.
        late: The submissions that ran out of time while others were graded, to be graded again alone.
    """

    def __init__(self, total: int, commit: str):
        self.failures: list[str] = []
        self.late: list[Submission] = []
        self._commit = commit
        # In a log it begins after half a minute, and has a line a minute.
        pace = {} if sys.stderr.isatty() else {"delay": 30, "mininterval": 60}
        self._bar = tqdm(total=total, unit="notebook", desc="grading", disable=not total, **pace)

    def take(self, submission: Submission, report: dict[str, Any] | Exception, alone: bool) -> None:
        """Write a report, or keep an error; if others were graded beside a slow one, it is put off instead."""
        if isinstance(report, dict):
            if was_slow(report) and not alone:
                self.late.append(submission)
                return
            report |= {"commit": self._commit, "graded_at": now()}
            try:
                write_report(submission.folder, report)
                submission.report = report
            except OSError as error:
                report = error
        if isinstance(report, Exception):
            self.failures.append(f"{harmless(submission.name)}: {type(report).__name__}: {report}")
        self._bar.update()

    def __enter__(self) -> _Desk:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
