"""The feed-forward half of a block: each token alone, wide and back."""

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
    """Two linear layers with a non-linearity between them (Vaswani et al. 2017, section 3.3).

    d_out: the width of what comes out, None for d_model.
    """

    def __init__(
        self, d_model: int, d_ff: int, activation: str = "gelu", bias: bool = True, *, d_out: int | None = None
    ) -> None:
        super().__init__()
        self.activation = _known(activation)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_out or d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_out"]:
        """Same shape, but for the width where `d_out` says so."""
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


class GatedFeedForward(nn.Module):
    """down(act(gate(x)) * up(x)): one branch decides how much of the other passes (Shazeer 2020, equation 6).

    With "silu" it is the SwiGLU of Llama, with "gelu_tanh" the GEGLU of T5 v1.1.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "silu", bias: bool = False) -> None:
        super().__init__()
        self.activation = _known(activation)
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Same shape."""
        return self.down(ACTIVATIONS[self.activation](self.gate(x)) * self.up(x))


def _known(activation: str) -> str:
    if activation not in ACTIVATIONS:
        raise ValueError(f'activation "{activation}" is not supported; use one of {", ".join(ACTIVATIONS)}')
    return activation
