"""The feed-forward half of a block: each token alone, to a larger width and back."""

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
        d_model: the width of the input.
        d_ff: the width between the two layers.
        activation: a name in ACTIVATIONS.
        bias: of both layers.
        d_out: the width of the output; None for d_model.

    Raises:
        ValueError: for an unknown activation.

    Source: Vaswani et al. 2017, section 3.3.
    """

    def __init__(
        self, d_model: int, d_ff: int, activation: str = "gelu", bias: bool = True, *, d_out: int | None = None
    ) -> None:
        super().__init__()
        self.activation = _known(activation)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_out or d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_out"]:
        """Apply it to each token."""
        hidden = ACTIVATIONS[self.activation](self.up(x))  # *batch d_ff
        return self.down(hidden)  # *batch d_out


class GatedFeedForward(nn.Module):
    """down(act(gate(x)) * up(x)): one branch decides how much of the other passes.

    With "silu" it is the SwiGLU of Llama, with "gelu_tanh" the GEGLU of T5 v1.1.

    Args:
        d_model: the width of input and output.
        d_ff: the width of gate and up.
        activation: a name in ACTIVATIONS.
        bias: of all three layers.

    Raises:
        ValueError: for an unknown activation.

    Source: Shazeer 2020, equation 6.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "silu", bias: bool = False) -> None:
        super().__init__()
        self.activation = _known(activation)
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Apply it to each token."""
        hidden = ACTIVATIONS[self.activation](self.gate(x)) * self.up(x)  # *batch d_ff
        return self.down(hidden)  # *batch d_model


def _known(activation: str) -> str:
    if activation not in ACTIVATIONS:
        raise ValueError(f'activation "{activation}" is not supported; use one of {", ".join(ACTIVATIONS)}')
    return activation
