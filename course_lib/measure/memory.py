"""How much a forward pass keeps in memory for the backward one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def saved_for_backward(model: nn.Module, run: Callable[[], Any]) -> int:
    """The memory of all tensors that autograd keeps while run() computes, each counted once.

    Exact, and the same on every device: it counts what is kept and not what an allocator sets aside.

    Args:
        model: Its weights and buffers do not count, since they are there anyway.
        run: A forward pass.

    Returns:
        Bytes.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()  # held until it is counted, so that no memory is used twice
    total = sum(found.values())
    del result
    return total
