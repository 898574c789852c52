"""Objectives: each takes a model and a batch and gives the number to bring down."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def next_token(model: nn.Module, windows: Int[Tensor, "batch length_plus_1"]) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats a token, of each token given the ones before it; a target of -100 does not count."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
