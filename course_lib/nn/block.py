"""One layer of a transformer, and a stack of them."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypedDict, Unpack

from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.cache import KVCache
from course_lib.nn.moe import MoE


class AttentionOptions(TypedDict, total=False):
    """What a block hands on to its self-attention; see MultiHeadAttention.forward."""

    mask: Tensor | None
    bias: Tensor | None
    rotary: tuple[Tensor, Tensor] | None
    head_mask: Tensor
    causal: bool
    cache: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class StackOptions(TypedDict, total=False):
    """What a stack of blocks hands on to each of them: options of attention, and the memory of cross-attention."""

    mask: Tensor | None
    bias: Tensor | None
    rotary: tuple[Tensor, Tensor] | None
    causal: bool
    memory: Tensor | None
    memory_mask: Tensor | None


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)): the pre-norm order, where x itself is never normalised.

    post_norm: norm(x + attention(x)) and so on, the first order (Vaswani et al. 2017, section 3.1), which BERT keeps.
    cross, norm_cross: attention over a memory, between the two: the decoder of an encoder-decoder model.
    The parts come ready-made, so that one block serves every family. Source: Radford et al. 2019, section 2.3;
    Xiong et al. 2020, figure 1.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
        *,
        post_norm: bool = False,
        cross: MultiHeadAttention | None = None,
        norm_cross: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.norm1 = norm1
        self.attention = attention
        self.norm_cross = norm_cross
        self.cross = cross
        self.norm2 = norm2
        self.feed_forward = feed_forward

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        return_weights: bool = False,
        memory: Float[Tensor, "batch keys d_model"] | None = None,
        memory_mask: Bool[Tensor, "..."] | None = None,
        **options: Unpack[AttentionOptions],
    ) -> (
        Float[Tensor, "batch tokens d_model"]
        | tuple[Float[Tensor, "batch tokens d_model"], Float[Tensor, "batch heads tokens keys"]]
        | tuple[Float[Tensor, "batch tokens d_model"], tuple[Float[Tensor, "batch heads tokens _"], ...]]
    ):
        """Apply the layer; the shape stays.

        Args:
            x: the tokens.
            return_weights: return the attention weights too, as a pair if there is cross-attention.
            memory: what cross-attention looks at.
            memory_mask: True where it may look.
            options: of self-attention.
        """
        mixed = self.attention(self._before(self.norm1, x), return_weights=return_weights, **options)
        mixed, weights = mixed if return_weights else (mixed, None)
        x = self._after(self.norm1, x + mixed)
        if self.cross is not None:
            mixed = self.cross(
                self._before(self.norm_cross, x), memory_mask, return_weights=return_weights, memory=memory
            )
            mixed, weights = (mixed[0], (weights, mixed[1])) if return_weights else (mixed, None)
            x = self._after(self.norm_cross, x + mixed)
        x = self._after(self.norm2, x + self.feed_forward(self._before(self.norm2, x)))
        return x if weights is None else (x, weights)

    def _before(self, norm: Any, x: Tensor) -> Tensor:
        return x if self.post_norm else norm(x)

    def _after(self, norm: Any, x: Tensor) -> Tensor:
        return norm(x) if self.post_norm else x


def run_blocks(
    blocks: Iterable[nn.Module],
    x: Float[Tensor, "batch tokens d_model"],
    head_mask: Float[Tensor, "layers heads"] | None = None,
    return_weights: bool = False,
    cache: KVCache | None = None,
    **options: Unpack[StackOptions],
) -> tuple[Float[Tensor, "batch tokens d_model"], list[Any]]:
    """Pass x through the blocks, one after the other.

    Args:
        blocks: from the first to the last.
        x: the tokens.
        head_mask: multiplies the output of each head of each layer.
        return_weights: fill the list with what each block returns beside x.
        cache: gives each layer the keys and values of earlier tokens, and keeps these.
        options: the same for every block.
    """
    weights = []
    block_options: dict[str, Any] = {**options}
    for layer, block in enumerate(blocks):
        if head_mask is not None:
            block_options["head_mask"] = head_mask[layer]
        if cache is not None:
            block_options["cache"] = partial(cache.append, layer)
        if return_weights:
            x, layer_weights = block(x, return_weights=True, **block_options)
            weights.append(layer_weights)
        else:
            x = block(x, **block_options)  # batch tokens d_model
    return x, weights


def init_weights(blocks: nn.Module, branches: int) -> None:
    """Initialise the layers of blocks so that the variance of activations is kept from the first to the last.

    The branches that are added to the residual stream end in a layer called `out` or `down`. These begin smaller, by
    1 / sqrt(branches), so that all branches together add about as much as one (Radford et al. 2019, section 2.3).
    Biases begin at 0; norms stay.

    Args:
        blocks: all of them.
        branches: how many there are in all, two a block or, with cross-attention, three.
    """
    for name, module in blocks.named_modules():
        scale = 1 / math.sqrt(branches) if name.endswith((".out", ".down")) else 1.0
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=scale / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, MoE):  # its other matrices are ready
            nn.init.normal_(module.down, std=1 / math.sqrt(branches * module.down.shape[-1]))
