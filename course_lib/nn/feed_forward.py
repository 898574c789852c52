"""The feed-forward half of a block: each token alone, wide and back."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them (Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016).

    activation: "gelu", or "gelu_tanh" for the approximation that GPT-2 was trained with.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "gelu", bias: bool = True) -> None:
        super().__init__()
        if activation not in ("gelu", "gelu_tanh"):
            raise ValueError(f'activation "{activation}" is not supported; use "gelu" or "gelu_tanh"')
        self.approximate = "tanh" if activation == "gelu_tanh" else "none"
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Same shape."""
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)): one branch decides how much of the other passes (Shazeer 2020, equation 6)."""

    def __init__(self, d_model: int, d_ff: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Same shape."""
        return self.down(F.silu(self.gate(x)) * self.up(x))
