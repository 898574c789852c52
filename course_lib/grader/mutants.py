"""Mutants of a solution: copies of its source, each with one small slip such as a learner makes."""

from __future__ import annotations

import ast
import copy
import difflib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

MOST_MUTANTS = 60  # of one solution; of more, so many are taken at even distances
LARGE = 100  # a number beyond is doubled and halved: one more would hardly show

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
COMPARISONS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_PAIRS = (
    ("max", "min"),
    ("amax", "amin"),
    ("argmax", "argmin"),
    ("maximum", "minimum"),
    ("sum", "mean"),
    ("tril", "triu"),
    ("all", "any"),
    ("sin", "cos"),
)
NAMES = {**dict(_PAIRS), **{b: a for a, b in _PAIRS}}


@dataclass(frozen=True)
class Mutant:
    """One mutant.

    Attributes:
        change: The line that was changed, before and after.
        source: The source of the whole mutant.
    """

    change: str
    source: str


def mutants_of(solution: Callable[..., Any]) -> list[Mutant]:
    """Return the mutants of a function or class, at most MOST_MUTANTS."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(solution)))
    original = ast.unparse(tree)
    found: dict[str, Mutant] = {}
    for i, node in enumerate(ast.walk(tree)):
        for n in range(len(list(_edits(node)))):
            changed = copy.deepcopy(tree)
            same_node = next(other for j, other in enumerate(ast.walk(changed)) if j == i)
            list(_edits(same_node))[n]()
            source = ast.unparse(changed)
            if source != original:
                found.setdefault(source, Mutant(_change(original, source), source))
    step = max(1.0, len(found) / MOST_MUTANTS)
    every = list(found.values())
    return [every[int(i * step)] for i in range(min(len(every), MOST_MUTANTS))]


def build(mutant: Mutant, solution: Callable[..., Any]) -> Any:
    """Return the function or class of a mutant, with the global names of the original's module."""
    # By another module's name, errors in it are told as a learner's.
    namespace = {**vars(sys.modules[solution.__module__]), "__name__": "mutant"}
    exec(compile(mutant.source, "<mutant>", "exec"), namespace)
    return namespace[solution.__name__]


def _edits(node: ast.AST) -> Iterator[Callable[[], None]]:
    """Yield the slips that are possible at a node, each as a function that makes it there."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        for other in OPERATORS.get(type(node.op), ()):
            yield partial(setattr, node, "op", other())
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield partial(node.ops.__setitem__, 0, other())
    elif isinstance(node, ast.Constant):
        for value in _other_values(node.value):
            yield partial(setattr, node, "value", value)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield partial(setattr, node, "attr", NAMES[node.attr])
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield partial(setattr, node, "id", NAMES[node.id])
    elif isinstance(node, ast.Return) and node.value is not None:
        yield partial(setattr, node, "value", ast.UnaryOp(ast.USub(), node.value))
    for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
        if isinstance(block, list):
            for i, statement in enumerate(block):
                if _may_be_dropped(statement):
                    yield partial(block.__setitem__, i, ast.Pass())


def _other_values(value: Any) -> tuple[Any, ...]:
    """Return what a number may be mistaken for; of the axis -1 these are 0 and -2, since the minus is another node."""
    if isinstance(value, bool):
        return (not value,)
    if not isinstance(value, (int, float)):
        return ()
    return (
        (value * 2, value / 2 if isinstance(value, float) else value // 2) if value > LARGE else (value + 1, value - 1)
    )


def _may_be_dropped(statement: ast.stmt) -> bool:
    """Whether a function may run without a statement: no definition, no return, no docstring."""
    docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    kept = (ast.Return, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Pass, ast.Raise)
    return not docstring and not isinstance(statement, kept)


def _change(before: str, after: str) -> str:
    lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:2] in ("- ", "+ ")]
    removed, added = ([line[2:].strip() for line in lines if line[0] == sign] for sign in "-+")
    return f"{' / '.join(removed)}  ->  {' / '.join(added) or 'pass'}"
