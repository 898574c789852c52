"""One submission: which lab it belongs to, and the results of its exercises."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.checkout import NoCheckout, find_checkout
from course_lib.exercises.spec import Exercise
from course_lib.grader.cells_needed import Piece, Statements
from course_lib.grader.diagnose import failure_sentence
from course_lib.grader.exam import Exam, Outcome, Result
from course_lib.grader.in_turn import InTurn
from course_lib.grader.inside import cells
from course_lib.grader.inside.outcomes import Answer
from course_lib.grader.notebook import Notebook, Unreadable, lab_of, read_notebook
from course_lib.grader.remote import RemoteSubject
from course_lib.grader.sandbox import Workers
from course_lib.grader.timed import CALL
from course_lib.grader.worker_client import WorkerClient

NOTHING_READ = Notebook([], digest="")
MOST_NOTES = 3


@dataclass
class Submission:
    """A submitted file.

    Attributes:
        name: The name in the grades: the path below the folder of submissions, without `.ipynb`.
        folder: The folder of its report.
        notebook: The content of the file.
        lab: The lab that it is graded as.
        reason: Why it cannot be graded, or None.
        hand_in: Which hand-in of its lab it is, from 1; see `hand_ins`.
        identity: What else decides the grade, as its report says it: seed, sandbox, and the exercises of its lab.
        report: The report on it, once there is one.
    """

    name: str
    folder: Path = Path()
    notebook: Notebook = NOTHING_READ
    lab: str = ""
    reason: str | None = None
    hand_in: int = 1
    identity: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] | None = None


def examine(path: Path, root: Path, lab: str | None) -> Submission:
    """Read a file and decide which lab it belongs to, or why it cannot be graded.

    Args:
        path: The file.
        root: The folder of submissions.
        lab: The lab that all files are graded as; None to decide for each file.
    """
    submission = Submission(path.relative_to(root).as_posix().removesuffix(".ipynb"))
    try:
        submission.notebook = read_notebook(path)
        submission.lab = lab or ""
        submission.lab = lab_of(submission.notebook, wanted=lab)
    except Unreadable as error:
        submission.reason = str(error)
        submission.lab = submission.lab or error.lab
    return submission


def grade(
    notebook: Notebook, exams: Sequence[Exam | InTurn], workers: Workers, hide_values: bool = True
) -> list[Result]:
    """Grade the exercises of a lab, in order, in a worker of their own.

    Args:
        notebook: The submission.
        exams: The exam of each exercise of the lab.
        workers: The source of the worker.
        hide_values: Whether to leave the numbers of the cases out of the diagnosis.

    Returns:
        The result of each exercise.

    Raises:
        SandboxError: If no worker starts.
    """
    with closing(WorkerClient(workers)) as client:
        return grade_with(client, notebook, exams, hide_values)


def _misspelled(id: str, notebook: Notebook) -> str:
    """Return a question about a mark that names no exercise, but nearly this one."""
    # Marks are a stranger's text: difflib sees a few short ones only.
    others = [mark for mark in notebook.marks if len(mark) < 50 and exercises.lab_of(mark) is None][:50]
    close = difflib.get_close_matches(id, others, n=1)
    return f"; is `# EXERCISE: {close[0]}` meant?" if close else ""


def grade_with(
    client: WorkerClient, notebook: Notebook, exams: Sequence[Exam | InTurn], hide_values: bool = True
) -> list[Result]:
    """Grade the exercises of a lab, in order, in the worker of a client; see `grade`."""
    lab = [exam.exercise for exam in exams]
    known = handed_out(exercises.lab_of(lab[0].id)) if lab else {}

    def analyse(source: str) -> Answer:
        return known.get(source) or client.ask("analyse", CALL, source=source)

    statements = Statements(notebook, lab, analyse)
    results: list[Result] = []
    for exam in exams:
        exercise = exam.exercise
        if exercise.id not in notebook.marks:
            problem = f"no cell begins with `# EXERCISE: {exercise.id}`"
            cell = statements.defined_in(exercise.name)
            if meant := _misspelled(exercise.id, notebook):
                problem += meant
            elif cell is not None:
                problem += f"; code cell {cell + 1}, which defines `{exercise.name}`, needs this line at its top"
            outcome = Outcome.NOT_ATTEMPTED if cell is None else Outcome.NOT_MARKED
            results.append(Result(exercise, outcome, problem=problem))
            continue
        note = statements.note(exercise.id)
        notes = [note] if note else []
        error = statements.problems.get(notebook.marks[exercise.id][-1])
        if error and not statements.answers[exercise.id]:
            problem = f"its cell is not valid Python ({error})"
            results.append(Result(exercise, Outcome.NOT_PYTHON, problem=problem, notes=notes))
            continue
        failed = [result for result in results if not result]
        result = _run(client, statements, exam, failed, hide_values)
        result.notes = [*notes, *result.notes]
        results.append(result)
    return results


def _run(
    client: WorkerClient, statements: Statements, exam: Exam | InTurn, failed: Sequence[Result], hide_values: bool
) -> Result:
    """Run the cases of an exercise, with the references in place of the earlier answers that failed.

    If that does not pass, it is run with the student's own in their place too: an answer that is right beside them has
    done what it should, and one mistake costs once. The best result counts, and of equals the one with the references.
    """
    exercise, earlier = exam.exercise, [other.exercise for other in failed]
    result, replaced = _run_beside(client, statements, exam, earlier, hide_values)
    own = [r.exercise for r in failed if r.outcome is Outcome.WRONG and not r.ended and r.exercise in replaced]
    kept: list[Exercise] = []
    for some in [own, *([other] for other in own if len(own) > 1)]:
        if result.outcome is Outcome.WRONG and some:
            others = [other for other in earlier if other not in some]
            another, stood_in = _run_beside(client, statements, exam, others, hide_values)
            if another.points > result.points:
                result, replaced, kept = another, stood_in, some
    notes = []
    if kept:
        notes.append(
            f"It was run with your own {_names(kept)}, which did not pass: beside the course's reference this answer "
            "does not pass."
        )
    if replaced:
        notes.append(f"It was run with the course's reference in place of {_names(replaced)}, which did not pass.")
    if lent := [other.name for other in earlier if other.stored and other.id in exercise.needs]:
        notes.append(f"It was run with your own `{lent[0]}`, which does not pass yet. Mend that one first.")
    result.notes = [*notes, *result.notes]
    if answer := statements.answers[exercise.id]:
        result.source = answer[0].source
        result.shape = " ".join(piece.shape for piece in answer if piece.shape)
    return result


def _run_beside(
    client: WorkerClient, statements: Statements, exam: Exam | InTurn, failed: Sequence[Exercise], hide_values: bool
) -> tuple[Result, list[Exercise]]:
    """Run the cases of an exercise once; return the result and the exercises whose references stood in for answers."""
    needed, replaced = statements.needed(exam.exercise, failed)
    subject = RemoteSubject(client, exam.exercise, needed)
    result = exam.grade(subject, hide_values)
    result.ended = subject.lost
    result.avoided = statements.names_to_avoid(exam.exercise, needed)
    result.notes = left_out(needed)
    return result, replaced


def _names(some: Sequence[Exercise]) -> str:
    return ", ".join(f"`{exercise.name}`" for exercise in some)


@functools.cache
def handed_out(lab: str | None) -> dict[str, Answer]:
    """Return the analysis of each cell of a lab as the course hands it out, by its source.

    These sources are ours, so they are analysed here: most cells of a submission are unchanged, and asking a worker
    about each would take a quarter of the time of grading it.
    """
    try:
        sources = read_notebook(find_checkout() / "labs" / f"{lab}.ipynb").cells
    except (NoCheckout, Unreadable, OSError):
        return {}  # an installed course, or a lab of one's own
    return {source: Answer(cells.analyse(source)) for source in sources}


def left_out(pieces: list[Piece]) -> list[str]:
    """Return sentences about the first statements that an exercise needs and that did not run to their end."""
    failed = [piece for piece in pieces if piece.failure]
    return [
        f"Line {piece.line} of code cell {piece.cell + 1} was left out: {failure_sentence(piece.failure)}"
        for piece in failed[:MOST_NOTES]
        if piece.failure
    ]
