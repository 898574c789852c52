"""Analysing a notebook cell: its statements, without magics, and the names that each defines and uses.

It runs in the worker, before any submitted code does: even a source made to crash the parser harms only its own file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

MOST_MAGICS = 100
_MAGIC = re.compile(r"^(\s*)(?:[%!?].*|.*=\s*[%!].*|.*\?\s*)$")
_FOREIGN = re.compile(r"^%%(?!time|timeit|capture|prun)")  # %%bash, %%html, ...: the cell is not Python


def analyse(source: str, whole: bool) -> dict[str, Any]:
    """Analyse one cell, and return the result as plain data.

    Args:
        source: The cell.
        whole: Whether the cell runs as a whole; otherwise only imports, definitions and literal constants run, as
            single statements.

    Returns:
        A dict with these entries:

        - source: The cell with magics and shell lines replaced by `pass`, so that line numbers stay the same.
        - error: Why the cell is not Python, or None.
        - imports: The full name of each imported name, {alias: name}.
        - pieces: For each piece that runs, the number of its statement (`only`; None for all), the names that it
          `defines` and `uses`, and the dotted names that it `mentions`.
    """
    found: dict[str, Any] = {"source": "", "error": None, "imports": {}, "pieces": []}
    if _FOREIGN.match(source.lstrip()):
        return found
    try:
        cleaned, tree = _without_magics(source)
        pieces = [(tree, None)] if whole else [(node, n) for n, node in enumerate(tree.body) if _runs_alone(node)]
        described = [_piece(node, only) for node, only in pieces]
        return {**found, "source": cleaned, "imports": _imports(tree), "pieces": described}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" at line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)  # str() repeats the line
        return {**found, "error": f"{type(error).__name__}{line}: {message[:200]}"}


def _without_magics(source: str) -> tuple[str, ast.Module]:
    """Remove only lines that Python cannot parse: a line of a string may well begin with % or end in ?."""
    lines = source.split("\n")
    for _ in range(MOST_MAGICS):
        try:
            text = "\n".join(lines)
            return text, ast.parse(text)
        except SyntaxError as error:
            number = (error.lineno or 0) - 1
            found = _MAGIC.match(lines[number]) if 0 <= number < len(lines) else None
            if not found:
                raise
            lines[number] = f"{found[1]}pass"
    raise ValueError(f"more than {MOST_MAGICS} lines of magics")


def _piece(node: ast.AST, only: int | None) -> dict[str, Any]:
    uses = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return {
        "only": only,
        "defines": sorted(set(_defined(node))),
        "uses": sorted(uses),
        "mentions": sorted({_dotted(n) for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute))}),
    }


def _runs_alone(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(node, ast.Try):
        return all(isinstance(inner, (ast.Import, ast.ImportFrom)) for inner in node.body)
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(t, (ast.Name, ast.Tuple)) for t in targets) and _is_literal(node.value)
    return False


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):  # 1 / 8, 4 * 64
        return _is_literal(node.left) and _is_literal(node.right)
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _defined(node: ast.AST) -> Iterator[str]:
    """Yield the names bound at the level of the module, not those inside functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _imports(node)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        for child in ast.iter_child_nodes(node):
            yield from _defined(child)


def _imports(node: ast.AST) -> dict[str, str]:
    """Return the full name of each imported name; `import a.b` binds a, and `import a.b as c` binds c to a.b."""
    found = {}
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            for alias in n.names:
                name = alias.name if alias.asname else alias.name.split(".")[0]
                found[alias.asname or name] = name
        elif isinstance(n, ast.ImportFrom):
            found.update({alias.asname or alias.name: f"{n.module}.{alias.name}" for alias in n.names})
    return found


def _dotted(node: ast.expr) -> str:
    """Return the dotted name of `F.softmax` or `x.softmax(...)`; `.softmax` if the left side is not a name."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
