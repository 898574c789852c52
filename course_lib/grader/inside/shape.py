"""The shape of a definition: what stays of it if things get other names, and the code another layout.

A syntax tree has no comments and no layout. Left out besides are the names of variables, functions and parameters, the
attributes of `self`, docstrings, annotations, decorators and what is in strings; a number counts by its value, however
it is spelled. The names of other attributes stay, since `x.exp()` is not `x.sum()`.
"""

from __future__ import annotations

import ast

LONGEST = 20_000  # characters; the rest of a definition is left out
_LEFT_OUT = {"annotation", "returns", "decorator_list", "type_comment", "type_params", "ctx"}


def shape(node: ast.AST) -> str:
    """Return the shape of a definition: a word for each part of its syntax tree, from top to bottom."""
    words, length = [], 0
    waiting = [node]  # no recursion: a submission may be nested as deep as the parser allows
    while waiting and length < LONGEST:
        here = waiting.pop()
        words.append(_word(here))
        length += len(words[-1]) + 1
        inside: list[ast.AST] = []
        for name, value in ast.iter_fields(here):
            if name not in _LEFT_OUT:
                parts = value if isinstance(value, list) else [value]
                inside += [part for part in parts if isinstance(part, ast.AST) and not _is_remark(part)]
        waiting += reversed(inside)
    return " ".join(words)[:LONGEST]


def _is_remark(node: ast.AST) -> bool:
    """Whether a statement is a mere literal: a docstring, or a text in place of a comment."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _word(node: ast.AST) -> str:
    """Return the word for one node."""
    kind = type(node).__name__
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.Attribute):
        of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
        return kind if of_self else f".{node.attr}"
    if isinstance(node, ast.keyword):
        return f"{node.arg}="
    return "Assign" if isinstance(node, ast.AnnAssign) else kind


def _constant(value: object) -> str:
    """Return the word for a literal: 1000, 1e3 and 1_000.0 are one; all texts are one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return repr(float(value))
        except OverflowError:
            return "large"
    return type(value).__name__ if isinstance(value, str | bytes | complex) else repr(value)
