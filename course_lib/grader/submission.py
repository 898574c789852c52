"""Grading one notebook: which of its cells an exercise needs, how it did, what it is worth."""

from __future__ import annotations

import ast
import inspect
import math
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Exam, Trouble, Verdict
from course_lib.grader.read import Notebook
from course_lib.grader.remote import Remote, Seat, Unit
from course_lib.grader.sandbox import Level
from course_lib.grader.server import Limits, Worker

_SHORT = {"F": "torch.nn.functional", "nn": "torch.nn", "np": "numpy"}
TOO_LATE, NO_MEMORY, NO_ANSWER, NO_PROCESS = ENDINGS = (
    "sent no answer in time",
    "ran out of memory",
    "sent something that is no answer",
    "ended its process",
)
# On Python 3.11 a switch of threads inside `ast` can end in a SystemError; it was seen once in some hundred gradings.
_parsing = threading.Lock()
_LIBRARY = ("course_lib.nn", "course_lib.models")


@dataclass
class Graded:
    """What an exercise of a submission is worth. notes: what else its author and the instructor should know."""

    exercise: Exercise
    verdict: Verdict | None = None  # None: there is nothing to run, and `problem` says why
    problem: str | None = None
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        """The exercise's points times the share of cases passed, rounded down to cents: full only if all pass."""
        if self.verdict is None:
            return 0.0
        passed = self.verdict.passed
        return math.floor(100 * self.exercise.points * sum(passed) / len(passed)) / 100


def grade(
    notebook: Notebook, exams: Sequence[Exam], level: Level, limits: Limits | None = None, hide_values: bool = True
) -> list[Graded]:
    """Grade the exercises of a lab, in their order. SandboxError when no worker starts."""
    results: list[Graded] = []
    with Worker(level, limits or Limits()) as worker:
        units, problems, aliases = _units(notebook, worker)
        for exam in exams:
            exercise, id = exam.exercise, exam.exercise.id
            graded = Graded(exercise)
            results.append(graded)
            if id not in notebook.marks:
                graded.problem = f"no cell begins with `# EXERCISE: {id}`"
                continue
            if len(notebook.marks[id]) > 1:
                graded.notes.append("More than one cell has the mark of this exercise; the last one counts.")
            if id in problems:
                graded.problem = f"its cell is not valid Python ({problems[id]})"
                continue
            failed = [r.exercise for r in results[:-1] if not r.verdict]
            needed, replaced = _plan(exercise, _all_needs(exercise, exams), units, failed)
            if replaced:
                names = ", ".join(f"`{e.name}`" for e in replaced)
                place = (
                    "the references took the place of them" if replaced[1:] else "the reference took the place of it"
                )
                graded.notes.append(f"It builds on {names}, which did not pass; {place}.")
            graded.flags = _flags(exercise, [u for u in needed if u.id in (None, id)], aliases)
            seat = Seat(worker, needed, id)
            graded.verdict = exam.mark(Remote(seat, exercise.name), hide_values)
            seat.close()
            if seat.last:
                graded.flags.append(_ending(seat.last))
    return results


def reference_source(exercise: Exercise) -> str:
    """What stands in for a failed exercise: the imports of its module, then the source of the reference."""
    module = sys.modules[exercise.reference.__module__]
    with _parsing:
        tree = ast.parse(inspect.getsource(module))
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        source = inspect.getsource(exercise.reference)  # parses, too, for a class
    return "\n".join([*(line for line in imports if "course_lib" not in line), source])


def _units(notebook: Notebook, worker: Worker) -> tuple[list[Unit], dict[str, str], dict[str, str]]:
    """The pieces of a notebook that may run, the ids whose cell is no Python (and why), and all import aliases."""
    last = {numbers[-1]: id for id, numbers in notebook.marks.items()}
    marked = {number for numbers in notebook.marks.values() for number in numbers}
    units: list[Unit] = []
    problems: dict[str, str] = {}
    aliases: dict[str, str] = {}
    session: Any = None
    for number, source in enumerate(notebook.cells):
        if number in marked and number not in last:
            continue  # an earlier version of a repeated exercise
        try:
            session = session or worker.session()
            cell = session.ask("analyse", worker.limits.call, source=source)
        except Trouble as trouble:
            session, cell = None, {"source": "", "error": str(trouble), "statements": []}
        ids = [id for id, numbers in notebook.marks.items() if numbers[-1] == number]
        if cell["error"]:
            problems.update(dict.fromkeys(ids, cell["error"]))
            continue
        file = f"<cell {number + 1}>"
        for statement in cell["statements"]:
            aliases.update(statement["imports"])
        chosen = [(n, s) for n, s in enumerate(cell["statements"]) if s["kept"] or ids]
        groups = [chosen] if ids else [[pair] for pair in chosen]
        for group in groups:
            unit = Unit(file, cell["source"], None if ids else [n for n, _ in group], id=ids[0] if ids else None)
            for _, statement in group:
                unit.defines |= set(statement["defines"])
                unit.uses |= set(statement["uses"])
                unit.mentions |= set(statement["mentions"])
                unit.star |= statement["star"]
            units += [unit] if not ids else [Unit(**{**vars(unit), "id": id}) for id in ids]
    if session:
        session.close()
    return units, problems, aliases


def _all_needs(exercise: Exercise, exams: Sequence[Exam]) -> set[str]:
    """Ids of the exercises that this one builds on, directly or through others."""
    needs_of = {exam.exercise.id: exam.exercise.needs for exam in exams}
    found: set[str] = set()
    frontier = set(exercise.needs)
    while frontier:
        found |= frontier
        frontier = {need for id in frontier for need in needs_of.get(id, ())} - found
    return found


def _plan(
    exercise: Exercise, needs: set[str], units: list[Unit], failed: list[Exercise]
) -> tuple[list[Unit], list[Exercise]]:
    """The units that an exercise needs, in the order of the notebook, and the failed exercises replaced among them.

    Only what the exercise's cell uses, directly or through other cells: what else hangs or fails is another's matter.
    """
    wanted = {n for n, unit in enumerate(units) if unit.id == exercise.id or unit.id in needs or unit.star}
    frontier = wanted
    while frontier:
        uses = set().union(*(units[n].uses for n in frontier))
        frontier = {n for n, unit in enumerate(units) if n not in wanted and unit.defines & uses}
        wanted = wanted | frontier
    needed = [units[n] for n in sorted(wanted)]
    own = [unit for unit in needed if unit.id == exercise.id]
    others = [unit for unit in needed if unit.id != exercise.id]
    used = needs | {unit.id for unit in others if unit.id}
    replaced = {e.id: e for e in failed if e.id in used}
    # A failed cell runs only where another cell uses something else that it defines, such as a helper.
    uses = set().union(*(unit.uses for unit in needed if unit.id not in replaced))
    others = [u for u in others if u.id not in replaced or (u.defines - {replaced[u.id].name}) & uses]
    references = [Unit(f"<reference {e.id}>", reference_source(e)) for e in replaced.values()]
    return [*others, *references, *own], list(replaced.values())


def _ending(trouble: Trouble) -> str:
    """The flag for code that took its process down, for the instructor to look at."""
    message = str(trouble.described["message"])
    if trouble.described["type"] == "TimeLimit":
        return TOO_LATE
    return NO_MEMORY if "MB of memory" in message else NO_ANSWER if "no answer" in message else NO_PROCESS


def _flags(exercise: Exercise, units: list[Unit], aliases: dict[str, str]) -> list[str]:
    """Names in the code that make the exercise pointless, and parts of the course's own library."""

    def full(name: str) -> str:
        head, _, rest = name.partition(".")
        head = aliases.get(head, _SHORT.get(head, head))
        return f"{head}.{rest}" if rest else head

    avoided = {full(name).rpartition(".")[2] for name in exercise.avoid}
    found = set()
    for mention in set().union(*(u.mentions for u in units)) if units else set():
        whole = full(mention)
        foreign = "." in whole and not mention.startswith("self.")
        if (foreign and whole.rpartition(".")[2] in avoided) or whole.startswith(_LIBRARY):
            found.add(mention.lstrip("."))
    return sorted(found)
