"""Normalisation. LayerNorm comes from torch; this is RMSNorm, the cheaper one that Llama uses."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """RMSNorm: x / sqrt(mean(x^2) + eps) times a trained gain; the mean is not subtracted.

    Source: Zhang and Sennrich 2019, equation 4.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Normalise each vector; the mean of squares is computed in float32, since bfloat16 is too coarse for it."""
        mean_square = x.float().square().mean(dim=-1, keepdim=True)  # *batch 1
        return (x * torch.rsqrt(mean_square + self.eps)).to(x.dtype) * self.weight
