"""Which pieces of a notebook an exercise needs, and what replaces an exercise that failed."""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from course_lib.exercises.spec import Exercise
from course_lib.grader.diagnose import failure_sentence
from course_lib.grader.inside.outcomes import Failure, Lost
from course_lib.grader.notebook import Notebook
from course_lib.grader.worker_client import CALL, WorkerClient

_LIBRARY = ("course_lib.nn", "course_lib.models")
# On Python 3.11 a switch of threads inside `ast` can end in a SystemError, seen once in some hundred gradings.
_parsing = threading.Lock()


@dataclass
class Piece:
    """A piece of a notebook that runs at once: a marked cell, a statement of another cell, or a reference's source.

    Attributes:
        file: The file name in tracebacks.
        source: The source of the whole cell.
        only: The number of the statement that runs; None for the whole cell.
        id: The id of the exercise, for a marked cell.
        defines: The names that it binds; "*" stands for all of `from ... import *`.
        uses: The names that it reads.
        mentions: The dotted names in it, such as `torch.softmax`.
        failure: Why its last run failed, or None.
    """

    file: str
    source: str
    only: int | None = None
    id: str | None = None
    defines: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    failure: Failure | None = None

    @property
    def deadly(self) -> bool:
        """Whether the piece must never run again, because it hung or ended its process."""
        return self.failure is not None and isinstance(self.failure.outcome, Lost)


def take_apart(notebook: Notebook, client: WorkerClient) -> tuple[list[Piece], dict[str, str], dict[str, str]]:
    """Have a worker parse the cells of a notebook: a source made to crash the parser harms its own file only.

    Returns:
        All pieces that may run, in order: a marked cell as a whole, once for each of its exercises, and other cells as
        single statements; the full names of imported names, {"F": "torch.nn.functional"}; and, by exercise id, why a
        cell is not valid Python.
    """
    pieces: list[Piece] = []
    aliases: dict[str, str] = {}
    problems: dict[str, str] = {}
    marked = {number for numbers in notebook.marks.values() for number in numbers}
    for number, source in enumerate(notebook.cells):
        ids = [id for id, numbers in notebook.marks.items() if numbers[-1] == number]
        if number in marked and not ids:
            continue  # an earlier version of a repeated exercise
        answer = client.ask("analyse", CALL, source=source, whole=bool(ids))
        error = failure_sentence(answer.failure) if answer.failure else answer.value["error"]
        if error:
            problems.update(dict.fromkeys(ids, error))
            continue
        cell = answer.value
        owners: list[str | None] = [*ids] or [None]
        aliases.update(cell["imports"])
        for piece in cell["pieces"]:
            names = set(piece["defines"]), set(piece["uses"]), set(piece["mentions"])
            for id in owners:
                pieces.append(Piece(f"<cell {number + 1}>", cell["source"], piece["only"], id, *names))
    return pieces, aliases, problems


def all_needs(exercise: Exercise, lab: Sequence[Exercise]) -> set[str]:
    """Return the ids of the earlier exercises of a lab that this one builds on, directly or through others."""
    needs = set(exercise.needs)
    for other in reversed(lab):
        if other.id in needs:
            needs.update(other.needs)
    return needs


def choose(
    exercise: Exercise, needs: set[str], pieces: list[Piece], failed: list[Exercise]
) -> tuple[list[Piece], list[Exercise]]:
    """Choose the pieces that an exercise needs: what its cell uses, directly or through other cells.

    Anything else that hangs or fails in the notebook does not affect this exercise.

    Args:
        exercise: The exercise.
        needs: The ids of the exercises that it builds on.
        pieces: All pieces of the notebook.
        failed: The exercises that did not pass.

    Returns:
        The pieces in the order in which they run, and the failed exercises whose references are among them.
    """
    wanted = {n for n, piece in enumerate(pieces) if piece.id in {exercise.id, *needs} or "*" in piece.defines}
    frontier = wanted
    while frontier:
        uses = set[str]().union(*(pieces[n].uses for n in frontier))
        frontier = {n for n, piece in enumerate(pieces) if n not in wanted and piece.defines & uses}
        wanted = wanted | frontier
    needed = [pieces[n] for n in sorted(wanted)]
    own = [piece for piece in needed if piece.id == exercise.id]
    others = [piece for piece in needed if piece.id != exercise.id]
    used = needs | {piece.id for piece in others if piece.id}
    replaced = {e.id: e for e in failed if e.id in used}
    # A failed cell runs only if another cell uses something else that it defines, such as a helper.
    uses = set[str]().union(*(piece.uses for piece in needed if piece.id not in replaced))
    others = [p for p in others if p.id not in replaced or (p.defines - {replaced[p.id].name}) & uses]
    references = [Piece(f"<reference {e.id}>", reference_source(e)) for e in replaced.values()]
    return [*others, *references, *own], list(replaced.values())


def reference_source(exercise: Exercise) -> str:
    """Return the code that replaces a failed exercise: the imports of its module, then the source of the reference."""
    module = sys.modules[exercise.reference.__module__]
    with _parsing:
        tree = ast.parse(inspect.getsource(module))
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        source = inspect.getsource(exercise.reference)  # for a class, this parses as well
    return "\n".join([*(line for line in imports if "course_lib" not in line), source])


def names_to_avoid(exercise: Exercise, pieces: list[Piece], aliases: dict[str, str]) -> list[str]:
    """Return the names in the code that make the exercise pointless, and those of the course's own library."""
    avoided = {name.rpartition(".")[2] for name in exercise.avoid}
    found = set()
    mentions = (piece.mentions for piece in pieces if piece.id in (None, exercise.id))
    for mention in set[str]().union(*mentions):
        head, dot, rest = mention.partition(".")
        full = f"{aliases.get(head, head)}{dot}{rest}"
        foreign = "." in full and head != "self"
        if (foreign and full.rpartition(".")[2] in avoided) or full.startswith(_LIBRARY):
            found.add(mention.lstrip("."))
    return sorted(found)
