"""Analysing a notebook cell: its statements, without magics, and the names that each binds, changes and reads.

Submissions are analysed in the worker, before any submitted code runs: even a source made to crash the parser harms
only its own file. Nothing is run here.
"""

from __future__ import annotations

import ast
import dis
import re
import warnings
from collections.abc import Iterator
from types import CodeType
from typing import Any

from course_lib.grader.inside.shape import shape

MOST_MAGICS = 100
MOST_STATEMENTS = 5000  # of one cell
_MAGIC = re.compile(r"^(\s*)(?:[%!?].*|.*=\s*[%!].*|.*\?\s*)$")
_FOREIGN = re.compile(r"^%%(?!time|timeit|capture|prun)")  # %%bash, %%html, ...: the cell is not Python
_READS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_BINDS = {"STORE_NAME", "DELETE_NAME", "STORE_GLOBAL"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def analyse(source: str) -> dict[str, Any]:
    """Analyse one cell, and return the result as plain data.

    Args:
        source: The cell.

    Returns:
        A dict with these entries:

        - source: The cell with magics and shell lines replaced by `pass`, so that line numbers stay the same.
        - error: Why the cell is not Python, or None.
        - imports: The full name of each imported name, {alias: name}.
        - statements: For each statement at the top level, its first `line`; the names that it `binds` (also "*", for
          `from ... import *`); those of the objects that it `changes` (`x[0] = 1`, `x.y = 1`, `x.append(1)`); the
          global names that it `uses`, also inside the functions that it defines; the dotted names that it `mentions`;
          whether it is a `definition` (def or class), whether that is still a `stub`, and its `shape`.
    """
    found: dict[str, Any] = {"source": "", "error": None, "imports": {}, "statements": []}
    if _FOREIGN.match(source.lstrip()):
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has said it once, where the cell ran
            cleaned, tree = _without_magics(source)
            if len(tree.body) > MOST_STATEMENTS:
                raise ValueError(f"more than {MOST_STATEMENTS} statements")
            statements = [_statement(node) for node in tree.body]
        return {**found, "source": cleaned, "imports": _imports(tree), "statements": statements}
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
            while lines[number].endswith("\\") and number + 1 < len(lines):  # a shell line that goes on
                lines[number] = f"{found[1]}pass"
                number += 1
            lines[number] = f"{found[1]}pass"
    raise ValueError(f"more than {MOST_MAGICS} lines of magics")


def _statement(node: ast.stmt) -> dict[str, Any]:
    imported = _imports(node)
    binds, uses = set(), set()
    if "*" in imported or any(name.startswith("__future__.") for name in imported.values()):
        binds.add("*")
    try:
        code = compile(ast.Module([node], []), "<cell>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # such as `return` outside of a function: it fails when it runs
        pass
    else:
        bound, read = _names(code)
        binds |= bound
        uses |= read
    return {
        "line": node.lineno,
        "binds": sorted(binds),
        "changes": sorted(set(_changed(node))),
        "uses": sorted(uses),
        "mentions": sorted({_dotted(n) for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute))}),
        "definition": isinstance(node, _DEFINITIONS),
        "stub": isinstance(node, _DEFINITIONS) and _is_stub(node),
        "shape": shape(node) if isinstance(node, _DEFINITIONS) else "",
    }


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the names that compiled code binds in the module, and the names of the module that it reads.

    The compiler knows best which names are local.
    """
    binds, reads = set(), set()
    waiting = [code]
    while waiting:
        inner = waiting.pop()
        waiting += [constant for constant in inner.co_consts if isinstance(constant, CodeType)]
        for step in dis.get_instructions(inner):
            if step.opname in _READS:
                reads.add(step.argval)
            elif inner is code and step.opname in _BINDS:
                binds.add(step.argval)
    return binds, reads


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield the name at the left of `x[0] = 1`, `x.y = 1`, `del x[0]` and `x.append(1)`, outside of functions."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*_DEFINITIONS, ast.Lambda)):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            target = node.value.func
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            target = node
        else:
            continue
        base: ast.expr = target
        while isinstance(base, (ast.Attribute, ast.Subscript, ast.Call)):
            base = base.func if isinstance(base, ast.Call) else base.value
        if isinstance(base, ast.Name) and base is not target:
            yield base.id


def _is_stub(definition: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Check whether a function, or a method of a class, ends in `raise NotImplementedError`."""
    last = definition.body[-1]
    if isinstance(definition, ast.ClassDef):
        return any(isinstance(inner, _DEFINITIONS) and _is_stub(inner) for inner in definition.body)
    error = last.exc.func if isinstance(last, ast.Raise) and isinstance(last.exc, ast.Call) else None
    error = last.exc if isinstance(last, ast.Raise) and error is None else error
    return isinstance(error, ast.Name) and error.id == "NotImplementedError"


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
