"""Ready-made functions in a learner's function or class that its exercise asks to do without."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType
from typing import Any


def ready_made(obj: Any, avoid: tuple[str, ...]) -> list[str]:
    """Return the names to avoid that the code of a function or class calls, as the learner wrote them.

    A name counts as an attribute (`F.softmax`, `x.softmax`) or if it was imported from torch, under whatever name: the
    learner's own `softmax` may be called.
    """
    names = {name.rpartition(".")[2] for name in avoid}
    found: set[str] = set()
    for function in vars(obj).values() if isinstance(obj, type) else [obj]:
        code = getattr(function, "__code__", None)
        for name, is_attribute in _names_in(code) if code else ():
            own = None if is_attribute else function.__globals__.get(name)
            imported = str(getattr(own, "__module__", "")).startswith("torch")
            if (name in names and is_attribute) or (imported and names & {name, getattr(own, "__name__", "")}):
                found.add(name)
    return sorted(found)


def _names_in(code: CodeType) -> Iterator[tuple[str, bool]]:
    """Yield the names that code reads, and whether each is an attribute; also those of functions inside it."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            yield step.argval, True
        elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval, False
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
