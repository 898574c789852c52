"""Which statements of a notebook an exercise needs, and what replaces an exercise that failed.

The rule: an exercise is the definition of its name, and all statements at the top level of any cell that bind or change
a name that it uses, directly or through others, in the order of the notebook. Nothing else runs.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from course_lib.exercises.spec import Exercise
from course_lib.grader.diagnose import failure_sentence
from course_lib.grader.inside.outcomes import Answer, Failure, Lost
from course_lib.grader.notebook import Notebook

MOST_STATEMENTS = 20_000  # of a notebook; cells beyond are not read
_LIBRARY = ("course_lib.nn", "course_lib.models")
# What no answer needs, by its full name: files, processes, the network, the inside of Python. The sandbox holds it;
# that it is there is for the instructor to know.
_OUTSIDE = re.compile(
    r"(?:base64|builtins|ctypes|gc|http|importlib|inspect|marshal|mmap|multiprocessing|os|pathlib|pickle|requests"
    r"|resource|shutil|signal|socket|subprocess|tempfile|threading|urllib)(?:\.|$)"
    r"|sys\.(?:_|exit$|modules|meta_path|path|setprofile|settrace)"
)
_OUTSIDE_BUILTINS = {"__builtins__", "__import__", "compile", "eval", "exec", "open"}
_INSIDES = re.compile(r"\.__(?:bases|builtins|closure|globals|mro|subclasses)__$")
# On Python 3.11 a switch of threads inside `ast` can end in a SystemError, seen once in some hundred gradings.
_parsing = threading.Lock()


@dataclass(eq=False)
class Piece:
    """A piece of code that runs at once: a statement at the top level of a cell, or a reference's source.

    Attributes:
        file: The file name in tracebacks.
        source: The source of the whole cell.
        only: The number of the statement; None for all of the source.
        cell: The number of the cell.
        line: The statement's first line in the cell.
        id: The id of the exercise whose answer it belongs to, if any.
        binds: The names that it binds; "*" for one that always runs, `from ... import *`.
        changes: The names of the objects that it changes, as `x[0] = 1` changes x.
        uses: The names that it reads.
        mentions: The dotted names in it, such as `torch.softmax`.
        definition: Whether it is a def or class.
        stub: Whether it is a definition that raises NotImplementedError.
        shape: What stays of a definition if its names and its layout change; see `inside.shape`.
        failure: Why its last run failed, or None.
    """

    file: str
    source: str
    only: int | None = None
    cell: int = -1
    line: int = 1
    id: str | None = None
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    definition: bool = False
    stub: bool = False
    shape: str = ""
    failure: Failure | None = None

    @property
    def imports(self) -> bool:
        """Whether the piece is an import: it binds names that it does not mention."""
        return not self.definition and bool(self.binds) and not self.mentions

    @property
    def deadly(self) -> bool:
        """Whether the piece must never run again, because it hung or ended its process."""
        return self.failure is not None and isinstance(self.failure.outcome, Lost)

    def binds_anew(self, name: str) -> bool:
        """Whether the piece binds a name to something that does not come from its old value."""
        return name in self.binds and (self.definition or name not in self.uses)


def take_apart(
    notebook: Notebook, analyse: Callable[[str], Answer]
) -> tuple[list[Piece], dict[str, str], dict[int, str]]:
    """Take the cells of a notebook apart.

    Args:
        notebook: The notebook.
        analyse: Returns the analysis of a cell by `inside.cells`. For a submission a worker is asked: a source made to
            crash the parser harms its own file only.

    Returns:
        The statements of all cells, in order; the full names of imported names, {"F": "torch.nn.functional"}; and why a
        cell cannot be read, by its number.
    """
    pieces: list[Piece] = []
    imports: dict[str, str] = {}
    problems: dict[int, str] = {}
    for number, source in enumerate(notebook.cells):
        if len(pieces) > MOST_STATEMENTS:
            problems[number] = f"the cells above have more than {MOST_STATEMENTS} statements"
            continue
        answer = analyse(source)
        error = failure_sentence(answer.failure) if answer.failure else answer.value["error"]
        if error:
            problems[number] = error
            continue
        imports.update(answer.value["imports"])
        for n, found in enumerate(answer.value["statements"]):
            found = {key: set(value) if isinstance(value, list) else value for key, value in found.items()}
            pieces.append(Piece(f"<cell {number + 1}>", answer.value["source"], n, number, **found))
    return pieces, imports, problems


class Statements:
    """The statements of a notebook, and which of them the exercises of its lab need.

    Attributes:
        answers: By exercise id, the statements that define the exercise's name, all of one cell.
        problems: Why a cell cannot be read, by its number.
    """

    def __init__(self, notebook: Notebook, lab: Sequence[Exercise], analyse: Callable[[str], Answer]):
        self._pieces, self._imports, self.problems = take_apart(notebook, analyse)
        self._marks, self._lab = notebook.marks, lab
        self._by_name: dict[str, list[int]] = defaultdict(list)
        for n, piece in enumerate(self._pieces):
            for name in piece.binds | piece.changes:
                self._by_name[name].append(n)
        self.answers = {exercise.id: self._answer(exercise) for exercise in lab if exercise.id in notebook.marks}
        for id, pieces in self.answers.items():
            for piece in pieces:
                piece.id = id

    def note(self, id: str) -> str | None:
        """Return a sentence if it is not obvious which cell counts for an exercise."""
        marked, answer = self._marks[id], self.answers[id]
        if answer and answer[0].cell != marked[-1]:
            where = "below" if answer[0].cell > marked[-1] else "above"
            return f"The answer is not in the cell with the mark: the last definition counts, in a cell {where} it."
        if len(set(marked)) > 1:
            return "More than one cell has the mark of this exercise; the last one counts."
        return None

    def defined_in(self, name: str) -> int | None:
        """Return the number of the last cell with a def or class of this name that is no stub, or None."""
        pieces = [self._pieces[n] for n in self._by_name[name]]
        cells = [piece.cell for piece in pieces if piece.definition and not piece.stub and name in piece.binds]
        return cells[-1] if cells else None

    def _answer(self, exercise: Exercise) -> list[Piece]:
        """Return the statements that make up the answer to an exercise.

        The last cell that has its mark counts, or a cell below that has another def or class of its name. If the marked
        cell has a stub or nothing, any assignment to the name counts as well. The marks of other exercises say that a
        cell is not meant.
        """
        name, marked = exercise.name, self._marks[exercise.id]
        foreign = {cell for cells in self._marks.values() for cell in cells} - set(marked)
        named = [piece for piece in map(self._pieces.__getitem__, self._by_name[name]) if piece.cell not in foreign]
        bound = [piece for piece in named if piece.binds_anew(name)]
        here = [piece for piece in bound if piece.cell == marked[-1]]
        below = [piece for piece in bound if piece.cell > marked[-1]]
        above = [piece for piece in bound if piece.cell < marked[-1] and marked[-1] not in self.problems]
        unsolved = not here or here[-1].stub
        found = [piece for piece in below if piece.definition or unsolved] or here or above
        return [piece for piece in named if piece.cell == found[-1].cell] if found else []

    def needed(self, exercise: Exercise, failed: Sequence[Exercise]) -> tuple[list[Piece], list[Exercise]]:
        """Choose the statements that an exercise needs.

        Anything else that hangs or fails in the notebook does not affect this exercise.

        Args:
            exercise: The exercise.
            failed: The exercises that did not pass: their references replace them.

        Returns:
            The pieces in the order in which they run, and the failed exercises whose references are among them.
        """
        answer = self.answers[exercise.id]
        cell = answer[0].cell if answer else self._marks[exercise.id][-1]
        others = {e.name: e for e in self._lab if e is not exercise and not self._has_its_own(cell, e)}
        replaced: list[Exercise] = []
        wanted: set[int] = set()
        waiting = ["*", exercise.name]
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            other = others.get(name)
            if other and other in failed and not other.stored:
                replaced.append(other)
                uses = {e.name for e in self._lab if e.id in other.needs}
            else:
                chosen = self._that_make(name, cell, other or (exercise if name == exercise.name else None))
                uses = set[str]().union(*(self._pieces[n].uses for n in chosen if n not in wanted))
                wanted.update(chosen)
            waiting += uses - seen
            seen |= uses
        references = [Piece(f"<reference {e.id}>", reference_source(e), id=e.id) for e in self._lab if e in replaced]
        return [*references, *(self._pieces[n] for n in sorted(wanted))], replaced

    def _has_its_own(self, cell: int, other: Exercise) -> bool:
        """Whether a cell defines the name of another exercise for its own use: it is not the answer to that one."""
        if cell in self._marks.get(other.id, []):
            return False
        pieces = map(self._pieces.__getitem__, self._by_name[other.name])
        return any(piece.cell == cell and piece.binds_anew(other.name) for piece in pieces)

    def _that_make(self, name: str, cell: int, exercise: Exercise | None) -> list[int]:
        """Return the numbers of the statements that bind or change a name: up to a cell, or all if none there binds it.

        So it is when the cells run from top to bottom, up to this cell; but cells may have been moved.
        """
        numbers = self._by_name[name]
        if exercise and exercise.id in self.answers:
            return [n for n in numbers if self._pieces[n] in self.answers[exercise.id]]
        if name in self._imports:  # changes of a module, as in `torch.x = y`, are no part of an exercise
            numbers = [n for n in numbers if name in self._pieces[n].binds]
        before = [n for n in numbers if self._pieces[n].cell <= cell]
        return before if any(self._pieces[n].binds_anew(name) for n in before) else numbers

    def names_to_avoid(self, exercise: Exercise, pieces: list[Piece]) -> list[str]:
        """Return the names in the code that its exercise does without.

        They are those that make it pointless, those of the course's own library, and what reaches out of the answer.
        """
        avoided = {name.rpartition(".")[2] for name in exercise.avoid}
        found, outside = set(), set[str]()
        of_answer = [piece for piece in pieces if piece.id in (None, exercise.id)]
        mentions = set[str]().union(*(piece.mentions for piece in of_answer))
        if any(exercise.name in piece.binds and piece.imports for piece in of_answer):
            mentions.add(exercise.name)  # the answer is an import, such as `from torch import softmax`
        for mention in mentions:
            head, dot, rest = mention.partition(".")
            full = f"{self._imports.get(head, head)}{dot}{rest}"
            foreign = "." in full and head != "self"
            named = mention in _OUTSIDE_BUILTINS or _INSIDES.search(mention)
            if named or (head in self._imports and _OUTSIDE.match(full)):
                outside.add(full.lstrip("."))
            if (foreign and full.rpartition(".")[2] in avoided) or full.startswith(_LIBRARY):
                found.add(
                    full.lstrip(".") if full.startswith(_LIBRARY) or mention == exercise.name else mention.lstrip(".")
                )
        # Of `os.kill(...)`, the name `os` is a part.
        whole = {name for name in outside if not any(other.startswith(f"{name}.") for other in outside)}
        return sorted(found | whole)


def reference_source(exercise: Exercise) -> str:
    """Return the code that replaces a failed exercise: the imports of its module, then the source of the reference."""
    module = sys.modules[exercise.reference.__module__]
    with _parsing:
        tree = ast.parse(inspect.getsource(module))
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        source = inspect.getsource(exercise.reference)  # for a class, this parses as well
    return "\n".join([*(line for line in imports if "course_lib" not in line), source])
