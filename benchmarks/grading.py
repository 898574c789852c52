# .venv/bin/python benchmarks/grading.py             (--help for sizes; --json FILE keeps every single time)
"""Grading a lab: `course grade` beside nbgrader and otter-grader, and a large class.

All grade the same answers to ch01_attention, every second one with a wrong softmax. Before anything counts, each must
have given the right ones full points, and the wrong ones less. The work is not equal, though, and ours is the larger:
`course grade` runs hidden cases in a sandbox, the others run the visible checks in an ordinary kernel.

--peers is the bin folder of an environment that has nbgrader, otter-grader and this course; without it ours runs alone.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from side_by_side import begin, parser, write

from course_lib import exercises
from course_lib.site.solve import solution_source

LAB = "ch01_attention"
ROOT = Path(__file__).resolve().parent.parent
WRONG = "def softmax(x, dim=-1):\n    return torch.softmax(x, 0)"
COURSE = [sys.executable, "-m", "course_lib"]


def main() -> None:
    """Time the graders in turns, then a class, and print a table."""
    options = parser(__doc__)
    options.set_defaults(rounds=3)
    options.add_argument("--submissions", type=int, default=8, help="submissions in a turn")
    options.add_argument(
        "--students", type=int, default=200, help="submissions of the large class; 0 for no such class"
    )
    options.add_argument("--peers", type=Path, help="a bin folder with nbgrader and otter")
    args = options.parse_args()
    if args.tiny:
        args.submissions, args.students = 2, 3

    here = begin()
    with tempfile.TemporaryDirectory(prefix="course-grading-") as name:
        folder = Path(name)
        graders = {"course grade": ours(folder, args.submissions)}
        if args.peers:
            graders |= {"nbgrader": nbgrader(folder, args.peers, args.submissions)}
            graders |= {"otter": otter(folder, args.peers, args.submissions)}
        seconds: dict[str, list[float]] = {grader: [] for grader in graders}
        for _ in range(args.rounds):
            for grader, grade in graders.items():
                seconds[grader].append(grade() / args.submissions)
        print(f"Seconds a submission, median of {args.rounds} rounds of {args.submissions} submissions (least .. most)")
        for grader, times in seconds.items():
            print(f"{grader:16} {statistics.median(times):8.2f} ({min(times):.2f} .. {max(times):.2f})")
        found: dict[str, Any] = {"submissions": args.submissions, "seconds_per_submission": seconds}
        if args.students:
            took = ours(folder / "class", args.students)()
            print(f"\nA class of {args.students}: {took:.0f} s, {took / args.students:.3f} s a submission")
            found["class"] = {"submissions": args.students, "seconds": took}
    write(args, here, {}, **found)


def is_right(student: int) -> bool:
    """Whether this student's answers are all right."""
    return student % 2 == 0


def handed_in(template: Path, student: int, to: Path) -> None:
    """Write a notebook with a student's answers in place of the stubs of the template."""
    notebook = json.loads(template.read_text(encoding="utf-8"))
    answers = {exercise.id: solution_source(exercise) for exercise in exercises.of_lab(LAB)}
    if not is_right(student):
        answers["softmax"] = WRONG
    for cell in notebook["cells"]:
        first = "".join(cell["source"]).split("\n")[0]
        if first.startswith("# EXERCISE: "):
            cell["source"] = f"{first}\n{answers[first.split(': ')[1]]}\n# student {student}\n"
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(notebook), encoding="utf-8")


def ours(folder: Path, n: int):
    """What times `course grade` on n submissions."""
    for student in range(n):
        handed_in(ROOT / "labs" / f"{LAB}.ipynb", student, folder / "ours" / f"s{student}.ipynb")

    def grade() -> float:
        out = folder / "grades"
        shutil.rmtree(out, ignore_errors=True)
        # A seed of its own, or a class that has been graded before would only be read.
        took = timed([*COURSE, "grade", folder / "ours", "--out", out, "--sandbox", "require", "--seed", "5"], ROOT)
        points = {}
        for entry in json.loads((out / "grades.json").read_text())["submissions"]:
            points[entry["name"]] = sum(exercise["points"] for exercise in entry["exercises"].values())
        expect(points)
        return took

    return grade


def nbgrader(folder: Path, peers: Path, n: int):
    """What times `nbgrader autograde` on n submissions."""
    course = folder / "nbgrader"
    timed([*COURSE, "export", "nbgrader", LAB, course], ROOT)
    timed([peers / "nbgrader", "generate_assignment", LAB], course)
    for student in range(n):
        place = course / "submitted" / f"s{student}" / LAB / f"{LAB}.ipynb"
        handed_in(course / "release" / LAB / f"{LAB}.ipynb", student, place)

    def grade() -> float:
        shutil.rmtree(course / "autograded", ignore_errors=True)
        took = timed([peers / "nbgrader", "autograde", LAB, "--force"], course)
        timed([peers / "nbgrader", "export"], course)
        with open(course / "grades.csv", encoding="utf-8") as file:
            expect({row["student_id"]: float(row["raw_score"]) for row in csv.DictReader(file)})
        return took

    return grade


def otter(folder: Path, peers: Path, n: int):
    """What times `otter run` on n submissions, one after the other; `otter grade` needs Docker."""
    course = folder / "otter"
    timed([*COURSE, "export", "otter", LAB, course], ROOT)
    timed([peers / "otter", "assign", course / f"{LAB}.ipynb", course / "dist"], course)
    [autograder] = (course / "dist" / "autograder").glob("*.zip")
    for student in range(n):
        handed_in(course / "dist" / "student" / f"{LAB}.ipynb", student, course / f"s{student}" / f"{LAB}.ipynb")

    def grade() -> float:
        took, points = 0.0, {}
        for student in range(n):
            place = course / f"s{student}"
            took += timed([peers / "otter", "run", "-a", autograder, "-o", place, f"{LAB}.ipynb"], place)
            results = json.loads((place / "results.json").read_text())["tests"]
            points[f"s{student}"] = sum(test.get("score", 0) for test in results)
        expect(points)
        return took

    return grade


def expect(points: dict[str, float]) -> None:
    """Stop unless the right ones have full points, and the others less.

    Raises:
        SystemExit: If the points are wrong.
    """
    full = float(sum(exercise.points for exercise in exercises.of_lab(LAB)))
    for name, got in points.items():
        if (got == full) is not is_right(int(name.removeprefix("s"))):
            raise SystemExit(f"{name} got {got:g} of {full:g}: the work is not equal")


def timed(command: list, folder: Path) -> float:
    """Run a command in a folder; return the seconds on the clock.

    Raises:
        SystemExit: If it fails.
    """
    beside = f"{Path(command[0]).parent}:{os.environ['PATH']}"  # nbgrader calls programs of its own environment
    environment = {**os.environ, "PATH": beside, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    done = subprocess.run([*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
