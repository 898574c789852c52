"""The device of a model, and the dtype of those numbers for which bfloat16 or float16 is too coarse."""

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's parameters."""
    return next(model.parameters()).device


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for a coarser dtype, and the dtype itself otherwise.

    Logits need it before a softmax, whose sum would lose small terms, and so do trained parts beside frozen weights,
    which would lose small updates.
    """
    return torch.promote_types(dtype, torch.float32)
