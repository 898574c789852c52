"""An exercise as students get it: without reference, known mistakes, right answers in other words and hidden cases.

Left are the stub, the words, how a case is run, and, as data, the visible cases with the right answers and what each
known mistake and each slip answers. So the check says what it says in the full course.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from course_lib.exercises.spec import Exercise
from course_lib.grader.exam import Exam
from course_lib.grader.stored import packed
from course_lib.site.paths import SiteError

HOW = ("run_case", "remark")  # the parts of an exercise that are code, and needed to check an answer
WORDS = ("id", "title", "points", "minutes", "difficulty", "kind", "see", "needs", "avoid", "rtol", "atol")


def visible_cases(exercise: Exercise) -> bytes:
    """Return the visible cases with all answers to them, as the file beside an exercise holds them."""
    exam = Exam(exercise)
    return packed(exam.cases, exam.expected, exam.mistakes, exam.told_apart())


def student_source(exercise: Exercise, stub: str, hints: int) -> str:
    """Return the source of an exercise's file without what gives its answer away.

    Args:
        exercise: The exercise.
        stub: The function or class that the learner is given, without the mark.
        hints: How many of the hints to keep.

    Raises:
        SiteError: If running a case needs the reference or a known mistake, so that these cannot be left out.
    """
    text = inspect.getsource(sys.modules[exercise.reference.__module__])
    tree = ast.parse(text)
    made = {name: node for node in tree.body for name in _names_made(node)}
    call: Any = next(node.value for node in tree.body if "EXERCISE" in _names_made(node) and hasattr(node, "value"))
    how = {part.arg: part.value for part in call.keywords if part.arg in HOW}
    used: set[str] = {"Exercise"}
    todo: list[ast.AST] = [*how.values(), ast.parse(stub)]
    while todo:
        new = {node.id for node in ast.walk(todo.pop()) if isinstance(node, ast.Name)} & made.keys() - used
        used |= new
        todo += [made[name] for name in new if not isinstance(made[name], ast.Import | ast.ImportFrom)]
    solutions = {exercise.name, *(mistake.solution.__name__ for mistake in exercise.mistakes)}
    solutions |= {alternative.solution.__name__ for alternative in exercise.alternatives}
    solutions |= {name for name, node in made.items() if isinstance(node, ast.ImportFrom) and _of_another(node)}
    if told := used & solutions:
        raise SiteError(
            f"exercise {exercise.id}: its {' or '.join(HOW)} calls `{min(told)}`, which students must not see"
        )
    kept = [node for node in tree.body if used & set(_names_made(node))]
    imports = [_import(node, used) for node in kept if isinstance(node, ast.Import | ast.ImportFrom)]
    code = [ast.get_source_segment(text, node) for node in kept if not isinstance(node, ast.Import | ast.ImportFrom)]
    fields = {name: repr(getattr(exercise, name)) for name in WORDS}
    fields |= {"hints": repr(exercise.hints[:hints]), "reference": exercise.name}
    fields |= {str(name): ast.unparse(value) for name, value in how.items()}
    fields["stored"] = 'Path(__file__).with_suffix(".cases")'
    lines = "".join(f"    {name}={value},\n" for name, value in fields.items())
    head = f'"""{exercise.title}: the student version. The visible cases are in {exercise.id}.cases."""'
    above = "\n".join(["from pathlib import Path", *imports])
    return "\n\n\n".join([f"{head}\n\n{above}", *map(str, code), stub, f"EXERCISE = Exercise(\n{lines})\n"])


def _names_made(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top level of a module makes."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))


def _of_another(node: ast.ImportFrom) -> bool:
    """Whether this imports the reference of another exercise."""
    return str(node.module).startswith("course_lib.exercises.") and node.module != "course_lib.exercises.spec"


def _import(node: ast.Import | ast.ImportFrom, used: set[str]) -> str:
    """Return an import of those names alone that are used."""
    names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used]
    words = ast.Import(names) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, names, node.level)
    return ast.unparse(words)
