"""The feed-forward half of a block: it maps each token on its own to a larger width and back."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# GELU (Hendrycks and Gimpel 2016) and two approximations of it: GPT-2 was trained with the first, CLIP with the second;
# SiLU, the gate of Llama; ReLU, of Vaswani et al. 2017.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "relu": F.relu,
}


class FeedForward(nn.Module):
    """Two linear layers with a non-linearity between them: down(act(up(x))).

    Args:
        d_model: The width of the input.
        d_ff: The width between the two layers.
        activation: A name in ACTIVATIONS.
        bias: Whether both layers have a bias.
        d_out: The width of the output; None for d_model.

    Raises:
        ValueError: If the activation is unknown, or d_out is below 1.

    Source: Vaswani et al. 2017, section 3.3.
    """

    def __init__(
        self, d_model: int, d_ff: int, activation: str = "gelu", bias: bool = True, *, d_out: int | None = None
    ) -> None:
        super().__init__()
        if d_out is not None and d_out < 1:
            raise ValueError(f"d_out={d_out} must be at least 1, or None for d_model")
        self.activation = _known(activation)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model if d_out is None else d_out, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_out"]:
        """Apply the network to each token."""
        hidden = ACTIVATIONS[self.activation](self.up(x))  # *batch d_ff
        return self.down(hidden)  # *batch d_out


class GatedFeedForward(nn.Module):
    """down(act(gate(x)) * up(x)): one branch decides how much of the other passes.

    A gated feed-forward network: with "silu" it is the SwiGLU of Llama, with "gelu_tanh" the GEGLU of T5 v1.1.

    Args:
        d_model: The width of input and output.
        d_ff: The width of gate and up.
        activation: A name in ACTIVATIONS.
        bias: Whether all three layers have a bias.

    Raises:
        ValueError: If the activation is unknown.

    Source: Shazeer 2020, equation 6.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "silu", bias: bool = False) -> None:
        super().__init__()
        self.activation = _known(activation)
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Apply the network to each token."""
        hidden = ACTIVATIONS[self.activation](self.gate(x)) * self.up(x)  # *batch d_ff
        return self.down(hidden)  # *batch d_model


def _known(activation: str) -> str:
    if activation not in ACTIVATIONS:
        raise ValueError(f'activation "{activation}" is not supported; use one of {", ".join(ACTIVATIONS)}')
    return activation
