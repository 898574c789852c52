"""Comparing an answer with the right one: do they agree, and if not, where do they first differ?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from course_lib.grader.inside.calls import zip_trees

DERIVATIVES = ("gradients", "parameters")  # the entries of what `Subject.gradients` and `Handle.gradients` return
_NUMBER, _ARRAY = (bool, int, float, complex), (torch.Tensor, np.ndarray)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


class Kind(StrEnum):
    """In what an answer differs from the right one."""

    TYPE = "type"
    SHAPE = "shape"
    DTYPE = "dtype"
    LENGTH = "length"
    KEYS = "keys"
    FINITE = "finite"
    VALUE = "value"
    GRADIENT = "gradient"  # missing where one is expected, or the other way round
    CHANGED = "changed"  # an argument was changed in place; its position or name is the path
    UNSTEADY = "unsteady"  # another answer to the same question


@dataclass(frozen=True)
class Difference:
    """The first difference found.

    Attributes:
        kind: In what they differ.
        path: The path into nested results, such as ("gradients", 0).
        expected: The whole right value at `path`.
        got: The whole value found there.
        index: The first wrong index of a tensor, for FINITE and VALUE.
    """

    kind: Kind
    path: tuple[Any, ...]
    expected: Any = None
    got: Any = None
    index: tuple[int, ...] = ()

    @property
    def is_derivative(self) -> bool:
        """Whether it is a gradient that differs, not a value."""
        return bool(self.path) and self.path[0] in DERIVATIVES


def compare(expected: Any, got: Any, rtol: float, atol: float, equal_nan: bool = False) -> Difference | None:
    """Return the first difference between two pieces of plain data, or None if they agree.

    Floats must agree within `atol + rtol * abs(expected)`, gradients within ten times as much, and tensors of them must
    have the expected dtype; integers, booleans and strings must be equal. A number and a tensor of no dimensions may
    stand for each other, and so such a tensor may have any floating dtype.
    """
    for path, e, g in zip_trees(expected, got):
        derivative = bool(path) and path[0] in DERIVATIVES
        if derivative and (e is None or g is None):
            found = _surplus_or_missing(g if e is None else e)
        else:
            # Gradients are sums of terms that nearly cancel, so rounding has a larger effect on them.
            wider = 10 if derivative else 1
            found = _differ(e, g, wider * rtol, wider * atol, equal_nan)
        if found:
            kind, index = found
            return Difference(kind, path, e, g, index)
    return None


def _surplus_or_missing(gradient: Any) -> tuple[Kind, tuple[int, ...]] | None:
    """Return the difference between a gradient and None; none for zeros, which also say that nothing depends on it."""
    if isinstance(gradient, torch.Tensor):
        return (Kind.GRADIENT, ()) if gradient.ne(0).any() else None
    return None if gradient is None else (Kind.TYPE, ())


def _differ(e: Any, g: Any, rtol: float, atol: float, equal_nan: bool) -> tuple[Kind, tuple[int, ...]] | None:
    """Return kind and index of the difference between two leaves, or between two parts that are nested differently."""
    if isinstance(e, dict):
        return Kind.KEYS if isinstance(g, dict) else Kind.TYPE, ()
    if isinstance(e, (list, tuple)):
        return Kind.LENGTH if isinstance(g, (list, tuple)) else Kind.TYPE, ()
    if e is None or isinstance(e, str):
        if type(e) is not type(g):
            return Kind.TYPE, ()
        return None if e == g else (Kind.VALUE, ())
    both_arrays = isinstance(e, _ARRAY) and isinstance(g, _ARRAY)
    if not isinstance(g, (*_NUMBER, *_ARRAY)) or (both_arrays and type(e) is not type(g)):
        return Kind.TYPE, ()
    try:
        e, g = _tensor(e), _tensor(g)
    except (RuntimeError, OverflowError, ValueError):  # an integer of more than 64 bits, which torch has no type for
        if getattr(e, "shape", ()) != getattr(g, "shape", ()):
            return Kind.SHAPE, ()
        e, g = (x.item() if isinstance(x, _ARRAY) else x for x in (e, g))
        return None if _long_numbers_agree(e, g, rtol, atol) else (Kind.VALUE, ())
    if e.shape != g.shape:
        return Kind.SHAPE, ()
    groups = _group(e), _group(g)
    if groups[0] != groups[1] and (both_arrays or groups != ("float", "int")):
        return Kind.DTYPE, ()
    if both_arrays and e.ndim and groups[0] in ("float", "complex") and e.dtype != g.dtype:
        return Kind.DTYPE, ()
    if e.dtype == g.dtype and torch.equal(e, g):  # sooner known than the rest
        return None
    if groups[0] in ("float", "complex"):
        wide = torch.complex128 if groups[0] == "complex" else torch.float64
        e, g = e.to(wide), g.to(wide)
        wrong = ~torch.isclose(g, e, rtol=rtol, atol=atol, equal_nan=equal_nan)
    else:
        wrong = e != g
    if not wrong.any():
        return None
    stray = wrong & ~torch.isfinite(g) & torch.isfinite(e)
    kind, where = (Kind.FINITE, stray) if stray.any() else (Kind.VALUE, wrong)
    return kind, tuple(where.nonzero()[0].tolist())


def _long_numbers_agree(e: Any, g: Any, rtol: float, atol: float) -> bool:
    """Whether two numbers agree that are no tensors: exactly, or within the tolerance where a float is expected."""
    if isinstance(e, float) and type(g) is int and math.isfinite(e):
        return abs(Fraction(e) - g) <= atol + rtol * abs(e)  # g may exceed every float
    return bool(e == g)


def _tensor(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64) if isinstance(x, float) else torch.as_tensor(x)


def _group(x: torch.Tensor) -> str:
    """Return the group of dtypes that may replace each other; torch compares wide unsigned integers by dtype only."""
    if x.dtype == torch.bool or x.dtype in _UNSIGNED:
        return str(x.dtype)
    if x.is_floating_point():
        return "float"
    return "complex" if x.is_complex() else "int"
