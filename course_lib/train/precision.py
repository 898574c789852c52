"""The number format of matrix products, and torch.compile if it works."""

from __future__ import annotations

import contextlib
import functools
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from course_lib.settings import not_supported
from course_lib.train.config import CHOICES


def choose_precision(wanted: str, device: torch.device) -> str:
    """Resolve "auto" to "bf16" or "fp32", and return these two as they are.

    "auto" becomes "bf16" if the device multiplies matrices at least 1.3 times as fast in it. That is measured, not
    looked up: a processor may support bfloat16 and be slower in it.

    Raises:
        ValueError: If the precision is unknown, or bf16 is asked for on a GPU that does not support it.
    """
    if wanted not in ("fp32", "bf16", "auto"):
        raise not_supported("precision", wanted, CHOICES["precision"])
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        if wanted == "bf16":
            raise ValueError(f'{torch.cuda.get_device_name(device)} has no bfloat16; use precision="fp32"')
        return "fp32"
    if wanted != "auto":
        return wanted
    return "bf16" if bf16_speedup(device) >= 1.3 else "fp32"


@functools.cache  # a recipe trains several times in a process, and on some processors this takes seconds
def bf16_speedup(device: torch.device, size: int = 512) -> float:
    """Measure the speedup of bfloat16 over float32 for a product of two size x size matrices, best of five."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(size, size, device=device, dtype=dtype)
        seconds[dtype] = min(_seconds(x) for _ in range(5))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _seconds(x: Tensor) -> float:
    start = time.perf_counter()
    for _ in range(5):
        x @ x
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - start


def autocast(kind: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which losses are computed in the precision `kind`.

    Weights stay in float32; under "bf16", matrix products use a copy of them in bfloat16.

    Args:
        kind: "fp32" or "bf16", from `choose_precision`.
        device: The device of the model.

    Raises:
        ValueError: If the precision is neither.
    """
    match kind:
        case "bf16":
            return torch.autocast(device.type, torch.bfloat16)
        case "fp32":
            return contextlib.nullcontext()
        case other:
            raise not_supported("precision", other, [choice for choice in CHOICES["precision"] if choice != "auto"])


def try_compile(objective: Callable[..., Any], first: Callable[[Callable[..., Any]], Any]) -> tuple[Any, Any]:
    """Compile an objective together with the model that it calls; if that fails, warn once and leave it as it is.

    Args:
        objective: The loss function.
        first: Calls the objective for the first time, which is when torch compiles.

    Returns:
        The objective to use from now on, and what `first` returned.
    """
    try:
        compiled = torch.compile(objective)
        return compiled, first(compiled)
    except Exception as error:
        torch._dynamo.reset()
        said = str(error).strip().splitlines() or [type(error).__name__]
        warnings.warn(f"torch.compile does not work here, so the run goes on without it ({said[0]})", stacklevel=2)
        return objective, first(objective)
