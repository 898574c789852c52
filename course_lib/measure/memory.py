"""The memory that a forward pass keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def saved_for_backward(model: nn.Module, run: Callable[[], object]) -> int:
    """Measure the memory of all tensors that autograd saves during run() for the backward pass, each counted once.

    The result is exact and the same on every device: it counts what is saved, not what an allocator reserves.

    Args:
        model: The model; its weights and buffers do not count, since they are in memory anyway.
        run: A forward pass.

    Returns:
        The number of bytes.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()  # kept until the memory is counted, so that none is reused and counted only once
    total = sum(found.values())
    del result
    return total
