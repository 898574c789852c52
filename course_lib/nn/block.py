"""One layer of a transformer."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)): the pre-norm order, where x itself is never normalised.

    The parts come ready-made, so that one block serves every family. Source: Radford et al. 2019, section 2.3;
    Xiong et al. 2020, figure 1b.
    """

    def __init__(
        self, attention: MultiHeadAttention, feed_forward: nn.Module, norm1: nn.Module, norm2: nn.Module
    ) -> None:
        super().__init__()
        self.norm1 = norm1
        self.attention = attention
        self.norm2 = norm2
        self.feed_forward = feed_forward

    def forward(
        self, x: Float[Tensor, "batch tokens d_model"], return_weights: bool = False, **options: Any
    ) -> (
        Float[Tensor, "batch tokens d_model"]
        | tuple[Float[Tensor, "batch tokens d_model"], Float[Tensor, "batch heads tokens tokens"]]
    ):
        """Same shape; with `return_weights=True` the attention weights too. options: as MultiHeadAttention.forward."""
        mixed = self.attention(self.norm1(x), return_weights=return_weights, **options)
        mixed, weights = mixed if return_weights else (mixed, None)
        x = x + mixed
        x = x + self.feed_forward(self.norm2(x))
        return x if weights is None else (x, weights)
