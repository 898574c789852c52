"""Run labs to their end with other right answers: the alternatives of the exercises in place of the references.

    .venv/bin/python tests/run_other_answers.py [LAB ...] [--round N]

Round 1 gives every exercise of a lab its first alternative, round 2 its second, and so on; one that has no more gives
its last. Without --round all rounds of each lab are run, one to three, and a round takes as long as the lab.
What an answer raises fails the round. A number out of its band does not, since another order of sums is another
rounding: it is listed, beside the lab's own.
"""

import argparse
import copy
import json
import sys
from pathlib import Path

from course_lib import exercises
from course_lib.exercises.spec import Exercise
from course_lib.site import records
from course_lib.site.build import read_lab
from course_lib.site.execute import execute
from course_lib.site.lab_run import LabRun
from course_lib.site.paths import Project, SiteError
from course_lib.site.solve import MARK, exercise_id

ROOT = Path(__file__).resolve().parent.parent


def rounds_of(lab):
    """How many rounds it takes until every alternative of a lab has been used."""
    return max(len(exercise.alternatives) for exercise in exercises.of_lab(lab))


def other_answer(exercise: Exercise, number: int) -> str:
    """The source of a cell in which a learner gives the alternative of this round, from 1."""
    alternatives = exercise.alternatives
    chosen = alternatives[min(number, len(alternatives)) - 1].solution
    imported = f"from {chosen.__module__} import {chosen.__name__} as other"
    return f"{MARK} {exercise.id}\n{imported}\n\n{exercise.name} = other.solution"


def answered(notebook, number):
    """A copy of a lab in which every stub is answered with the alternative of this round."""
    found = copy.deepcopy(notebook)
    for cell in found.cells:
        if id := exercise_id(cell):
            cell.source = other_answer(exercises.find(id), number)
    return found


def compare(project, lab, executed):
    """Print the numbers that are out of their bands, beside those of the last build."""
    kept = project.results / f"{lab}.json"
    own = json.loads(kept.read_text()) if kept.is_file() else {}
    for key, record in records.collect(lab, executed).items():
        if record.get("ok") is False:
            print(f"  {key}: {record['value']}, out of its band; the lab's own {own.get(key, {}).get('value')}")


def main():
    parser = argparse.ArgumentParser(description="Run labs to their end with the alternatives of their exercises.")
    parser.add_argument("labs", nargs="*", metavar="LAB", help="labs such as ch01_heads; none means all")
    parser.add_argument("--round", type=int, help="only this round, from 1")
    options = parser.parse_args()
    project, failed = Project(ROOT), []
    for lab in options.labs or exercises.labs():
        for number in [options.round] if options.round else range(1, rounds_of(lab) + 1):
            print(f"{lab}, round {number}", flush=True)
            run = LabRun(lab, answered(read_lab(project, lab), number), 0)
            try:
                execute(project, [run], lambda run, executed: compare(project, run.lab, executed), strict=False)
            except SiteError as error:
                print(error)
                failed.append(f"{lab}, round {number}")
    print("failed: " + "; ".join(failed) if failed else "every lab came to its end")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
