"""Is this answer the right one, and if not, where does it differ first?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

DERIVATIVES = ("gradients", "parameters")  # the entries of what `Subject.gradients` and `Handle.gradients` return


@dataclass(frozen=True)
class Difference:
    """The first difference found.

    kind: "type", "shape", "dtype", "length", "keys", "finite", "gradient" (none where one is due) or "value".
    path: the way into nested results, such as ("gradients", 0).
    index: the first wrong index of a tensor, for "finite" and "value".
    expected, got: the two values at `path`, whole.
    """

    kind: str
    path: tuple[Any, ...]
    expected: Any
    got: Any
    index: tuple[int, ...] | None = None


def compare(
    expected: Any, got: Any, rtol: float, atol: float, equal_nan: bool = False, path: tuple[Any, ...] = ()
) -> Difference | None:
    """The first difference between two pieces of plain data, or None when they agree.

    Floats must have the expected dtype and agree within `atol + rtol * abs(expected)`, gradients within ten times as
    much; integers, booleans and strings must be equal. A number may stand for a tensor of no dimensions and the other
    way round.
    """

    def deeper(key: Any, a: Any, b: Any) -> Difference | None:
        # Gradients are sums of terms that nearly cancel, so rounding weighs more in them.
        wider = 10 if not path and key in DERIVATIVES else 1
        return compare(a, b, wider * rtol, wider * atol, equal_nan, (*path, key))

    def differs(kind: str, index: tuple[int, ...] | None = None) -> Difference:
        return Difference(kind, path, expected, got, index)

    if path and path[0] in DERIVATIVES and (expected is None or got is None):
        # Nothing depends on the argument: None and zeros say the same.
        some = expected if got is None else got
        due = isinstance(some, torch.Tensor) and bool(some.ne(0).any())
        return differs("gradient") if due else None
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return differs("type")
        if set(expected) != set(got):
            return differs("keys")
        return next((d for key in expected if (d := deeper(key, expected[key], got[key]))), None)
    if isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            return differs("type")
        if len(expected) != len(got):
            return differs("length")
        return next((d for i, (a, b) in enumerate(zip(expected, got, strict=True)) if (d := deeper(i, a, b))), None)
    if expected is None or isinstance(expected, str):
        if type(expected) is not type(got):
            return differs("type")
        return None if expected == got else differs("value")
    return _compare_numbers(expected, got, rtol, atol, equal_nan, differs)


def _compare_numbers(
    expected: Any, got: Any, rtol: float, atol: float, equal_nan: bool, differs: Any
) -> Difference | None:
    number, array = (bool, int, float, complex), (torch.Tensor, np.ndarray)
    if not isinstance(got, (*number, *array)):
        return differs("type")
    if isinstance(expected, array) and isinstance(got, array) and type(expected) is not type(got):
        return differs("type")
    both_arrays = isinstance(expected, array) and isinstance(got, array)
    try:
        e, g = _tensor(expected), _tensor(got)
    except (RuntimeError, OverflowError):  # an integer of more than 64 bits
        return None if expected == got else differs("value")
    if e.shape != g.shape:
        return differs("shape")
    if _kind(e) != _kind(g) and not (not both_arrays and _kind(e) == "float" and _kind(g) == "int"):
        return differs("dtype")
    if both_arrays and _kind(e) in ("float", "complex") and e.dtype != g.dtype:
        return differs("dtype")
    if _kind(e) in ("bool", "int"):
        wrong = e != g
    else:
        wide = torch.complex128 if "complex" in (_kind(e), _kind(g)) else torch.float64
        e, g = e.to(wide), g.to(wide)
        wrong = ~torch.isclose(g, e, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if not wrong.any():
        return None
    stray = wrong & ~torch.isfinite(g) & torch.isfinite(e)
    kind, where = ("finite", stray) if stray.any() else ("value", wrong)
    return differs(kind, tuple(where.nonzero()[0].tolist()))


def _tensor(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64) if isinstance(x, float) else torch.as_tensor(x)


def _kind(x: torch.Tensor) -> str:
    if x.is_floating_point():
        return "float"
    return "complex" if x.is_complex() else "bool" if x.dtype == torch.bool else "int"
