"""Which pieces of a notebook an exercise needs, and what stands in for an exercise that failed."""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from course_lib.exercises.spec import Exercise
from course_lib.grader.inside.outcomes import Failed, Failure
from course_lib.grader.notebook import Notebook
from course_lib.grader.sentences import failure_sentence
from course_lib.grader.worker_client import WorkerClient

_SHORT = {"F": "torch.nn.functional", "nn": "torch.nn", "np": "numpy"}
_LIBRARY = ("course_lib.nn", "course_lib.models")
# On Python 3.11 a switch of threads inside `ast` can end in a SystemError; it was seen once in some hundred gradings.
_parsing = threading.Lock()


@dataclass
class Piece:
    """A piece of a notebook that runs at once: a marked cell, a statement of another cell, or a reference's source.

    Attributes:
        file: What tracebacks call it.
        source: The whole cell.
        only: Numbers of the statements that run; None for all.
        id: The exercise, for a marked cell.
        defines: Names that it binds.
        uses: Names that it reads.
        mentions: Dotted names in it, such as `torch.softmax`.
        star: It holds `from ... import *`.
        deadly: Why it must never run again: it hung or ended its process.
    """

    file: str
    source: str
    only: list[int] | None = None
    id: str | None = None
    defines: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    star: bool = False
    deadly: Failure | None = None


@dataclass
class Pieces:
    """What is in a notebook.

    Attributes:
        pieces: All that may run, in order.
        problems: By exercise id, why its cell is no Python.
        aliases: What imported names stand for: {"F": "torch.nn.functional"}.
    """

    pieces: list[Piece] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def take_apart(notebook: Notebook, client: WorkerClient) -> Pieces:
    """Have a worker parse the cells of a notebook: a source made to crash the parser harms its own file only."""
    last = {numbers[-1]: id for id, numbers in notebook.marks.items()}
    marked = {number for numbers in notebook.marks.values() for number in numbers}
    found = Pieces()
    for number, source in enumerate(notebook.cells):
        if number in marked and number not in last:
            continue  # an earlier version of a repeated exercise
        ids = [id for id, numbers in notebook.marks.items() if numbers[-1] == number]
        try:
            cell = client.ask("analyse", client.limits.call, source=source)
        except Failed as failed:
            cell = {"error": failure_sentence(failed.failure)}
        if cell["error"]:
            found.problems.update(dict.fromkeys(ids, cell["error"]))
            continue
        for statement in cell["statements"]:
            found.aliases.update(statement["imports"])
        found.pieces += _pieces_of_cell(f"<cell {number + 1}>", cell, ids)
    return found


def _pieces_of_cell(file: str, cell: dict[str, Any], ids: list[str]) -> list[Piece]:
    """A marked cell whole, once for each of its exercises; of another cell the statements that are kept, one by one."""
    if not ids:
        kept = [(n, statement) for n, statement in enumerate(cell["statements"]) if statement["kept"]]
        return [_piece(file, cell["source"], [statement], only=[n]) for n, statement in kept]
    piece = _piece(file, cell["source"], cell["statements"])
    return [replace(piece, id=id) for id in ids]


def _piece(file: str, source: str, statements: list[dict[str, Any]], only: list[int] | None = None) -> Piece:
    return Piece(
        file,
        source,
        only,
        defines=_union(s["defines"] for s in statements),
        uses=_union(s["uses"] for s in statements),
        mentions=_union(s["mentions"] for s in statements),
        star=any(s["star"] for s in statements),
    )


def all_needs(exercise: Exercise, lab: Sequence[Exercise]) -> set[str]:
    """Ids of the exercises of a lab that this one builds on, directly or through others."""
    needs_of = {other.id: other.needs for other in lab}
    found: set[str] = set()
    frontier = set(exercise.needs)
    while frontier:
        found |= frontier
        frontier = _union(needs_of.get(id, ()) for id in frontier) - found
    return found


def choose(
    exercise: Exercise, needs: set[str], pieces: list[Piece], failed: list[Exercise]
) -> tuple[list[Piece], list[Exercise]]:
    """Choose what an exercise needs: what its cell uses, directly or through other cells.

    What else hangs or fails in the notebook is another exercise's matter.

    Args:
        exercise: The exercise.
        needs: Ids of the exercises that it builds on.
        pieces: All pieces of the notebook.
        failed: The exercises that did not pass.

    Returns:
        The pieces in the order in which they run, and the failed exercises whose references are among them.
    """
    wanted = {n for n, piece in enumerate(pieces) if piece.id == exercise.id or piece.id in needs or piece.star}
    frontier = wanted
    while frontier:
        uses = _union(pieces[n].uses for n in frontier)
        frontier = {n for n, piece in enumerate(pieces) if n not in wanted and piece.defines & uses}
        wanted = wanted | frontier
    needed = [pieces[n] for n in sorted(wanted)]
    own = [piece for piece in needed if piece.id == exercise.id]
    others = [piece for piece in needed if piece.id != exercise.id]
    used = needs | {piece.id for piece in others if piece.id}
    replaced = {e.id: e for e in failed if e.id in used}
    # A failed cell runs only where another cell uses something else that it defines, such as a helper.
    uses = _union(piece.uses for piece in needed if piece.id not in replaced)
    others = [p for p in others if p.id not in replaced or (p.defines - {replaced[p.id].name}) & uses]
    references = [Piece(f"<reference {e.id}>", reference_source(e)) for e in replaced.values()]
    return [*others, *references, *own], list(replaced.values())


def reference_source(exercise: Exercise) -> str:
    """What stands in for a failed exercise: the imports of its module, then the source of the reference."""
    module = sys.modules[exercise.reference.__module__]
    with _parsing:
        tree = ast.parse(inspect.getsource(module))
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        source = inspect.getsource(exercise.reference)  # parses, too, for a class
    return "\n".join([*(line for line in imports if "course_lib" not in line), source])


def names_to_avoid(exercise: Exercise, pieces: list[Piece], aliases: dict[str, str]) -> list[str]:
    """Names in the code that make the exercise pointless, and parts of the course's own library."""

    def full(name: str) -> str:
        head, _, rest = name.partition(".")
        head = aliases.get(head, _SHORT.get(head, head))
        return f"{head}.{rest}" if rest else head

    avoided = {full(name).rpartition(".")[2] for name in exercise.avoid}
    found = set()
    for mention in _union(piece.mentions for piece in pieces):
        whole = full(mention)
        foreign = "." in whole and not mention.startswith("self.")
        if (foreign and whole.rpartition(".")[2] in avoided) or whole.startswith(_LIBRARY):
            found.add(mention.lstrip("."))
    return sorted(found)


def _union(sets: Iterable[Iterable[str]]) -> set[str]:
    found: set[str] = set()
    return found.union(*sets)
