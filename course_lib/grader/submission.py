"""One submission: which lab it is, how each of its exercises did, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.exercises.spec import Exercise
from course_lib.grader.cells_needed import Pieces, all_needs, choose, names_to_avoid, take_apart
from course_lib.grader.exam import Exam, Verdict
from course_lib.grader.inside.outcomes import Failure, Outcome
from course_lib.grader.notebook import Notebook, Unreadable, lab_of, read_notebook
from course_lib.grader.remote import RemoteSubject
from course_lib.grader.sandbox import Level
from course_lib.grader.worker_client import Limits, WorkerClient

NOTHING_READ = Notebook([], digest="")


@dataclass
class Submission:
    """A submitted file.

    Attributes:
        name: Its name in the grades: the path below the folder of submissions, without `.ipynb`.
        folder: Where its report goes.
        notebook: What was read of it.
        lab: The lab that it is graded as.
        reason: Why it cannot be graded, or None.
    """

    name: str
    folder: Path = Path()
    notebook: Notebook = NOTHING_READ
    lab: str = ""
    reason: str | None = None


def examine(path: Path, root: Path, lab: str | None) -> Submission:
    """Read a file and decide which lab it is, or why it cannot be graded.

    Args:
        path: The file.
        root: The folder of submissions.
        lab: The lab that all files are graded as; None to ask each file.
    """
    submission = Submission(path.relative_to(root).as_posix().removesuffix(".ipynb"))
    try:
        submission.notebook = read_notebook(path)
        submission.lab = lab or ""
        submission.lab = lab_of(submission.notebook, wanted=lab)
    except Unreadable as error:
        submission.reason = str(error)
    return submission


@dataclass
class GradedExercise:
    """How an exercise of a submission did.

    Attributes:
        exercise: The exercise.
        verdict: How its cases went; None when there was nothing to run.
        problem: Why its cell is no Python, where it is none.
        replaced: Exercises that it builds on and that did not pass: their references took their place.
        repeated: More than one cell has its mark; the last one counts.
        avoided: Names in its code that the exercise asks to do without.
        ended: How the process that ran it last ended, or None.
    """

    exercise: Exercise
    verdict: Verdict | None = None
    problem: str | None = None
    replaced: list[Exercise] = field(default_factory=list)
    repeated: bool = False
    avoided: list[str] = field(default_factory=list)
    ended: Failure | None = None

    @property
    def outcome(self) -> Outcome:
        """The code for how it did."""
        if self.verdict:
            return Outcome.PASSED
        if self.verdict is not None:
            return Outcome.WRONG if self.verdict.started else Outcome.NOT_STARTED
        return Outcome.NOT_PYTHON if self.problem else Outcome.NOT_ATTEMPTED

    @property
    def points(self) -> float:
        """The exercise's points times the share of cases passed, rounded down to cents: full only if all pass."""
        if self.verdict is None:
            return 0.0
        passed = self.verdict.passed
        return math.floor(100 * self.exercise.points * sum(passed) / len(passed)) / 100


def grade(
    notebook: Notebook, exams: Sequence[Exam], level: Level, limits: Limits | None = None, hide_values: bool = True
) -> list[GradedExercise]:
    """Grade the exercises of a lab, in their order, in a worker of their own.

    Args:
        notebook: The submission.
        exams: The exam of each exercise of the lab.
        level: The sandbox of the worker.
        limits: How long the code may take.
        hide_values: Leave the numbers of the cases out of the diagnosis.

    Returns:
        How each exercise did.

    Raises:
        SandboxError: No worker starts.
    """
    lab = [exam.exercise for exam in exams]
    results: list[GradedExercise] = []
    with WorkerClient(level, limits) as client:
        pieces = take_apart(notebook, client)
        for exam in exams:
            graded = GradedExercise(exam.exercise, problem=pieces.problems.get(exam.exercise.id))
            if exam.exercise.id in notebook.marks:
                graded.repeated = len(notebook.marks[exam.exercise.id]) > 1
                if graded.problem is None:
                    failed = [result.exercise for result in results if not result.verdict]
                    _examine(graded, exam, lab, pieces, failed, client, hide_values)
            results.append(graded)
    return results


def _examine(
    graded: GradedExercise,
    exam: Exam,
    lab: list[Exercise],
    pieces: Pieces,
    failed: list[Exercise],
    client: WorkerClient,
    hide_values: bool,
) -> None:
    """Put the exam to the code of one exercise, and note down what came of it."""
    exercise = exam.exercise
    needed, graded.replaced = choose(exercise, all_needs(exercise, lab), pieces.pieces, failed)
    own = [piece for piece in needed if piece.id in (None, exercise.id)]
    graded.avoided = names_to_avoid(exercise, own, pieces.aliases)
    subject = RemoteSubject(client, exercise.id, exercise.name, needed)
    graded.verdict = exam.mark(subject, hide_values)
    graded.ended = subject.ended
