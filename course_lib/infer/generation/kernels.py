"""GPT.hidden_states for a single token a row: the same numbers, without what a general call could do besides.

With one token a row the products are small, and what a general layer asks and rearranges would take a third of the
time. Here a layer writes keys and values in one move, and query heads that share them stand in the place of queries.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.models.gpt import GPT
from course_lib.nn.attention import MultiHeadAttention, attention
from course_lib.nn.block import Block
from course_lib.nn.cache import KVCache
from course_lib.nn.positions import rotate

PARTS = {Block: {"norm1", "attention", "norm2", "feed_forward"}, MultiHeadAttention: {"qkv", "out"}}


def is_plain_gpt(model: GPT) -> bool:
    """Whether every layer is what GPT makes of it: nothing replaced, rearranged, wrapped, watched by a hook or added.

    What is inside a layer is not asked: linear layers, norms and feed-forward networks may be any modules.
    """
    layers: list[Any] = [layer for block in model.blocks for layer in (block, getattr(block, "attention", None))]
    return type(model) is GPT and all(
        type(layer) in PARTS
        and layer._modules.keys() == PARTS[type(layer)]
        and not (layer._parameters or layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))
        and getattr(layer, "attend", attention) is attention
        and getattr(layer, "rotate", rotate) is rotate
        and not getattr(layer, "post_norm", False)
        and getattr(layer, "scale", None) is None
        for layer in layers
    )


class DecodeStep:
    """GPT.hidden_states for one token a row, of a model that is `is_plain_gpt` and a cache; without gradients."""

    def __init__(self, model: GPT, cache: KVCache) -> None:
        self.model = model
        self.cache = cache
        blocks: Any = model.blocks
        self.layers = [
            (
                block.norm1,
                block.attention.qkv,
                block.attention.out,
                block.norm2,
                block.feed_forward,
                pairs,
                keys,
                values,
            )
            for block, pairs, keys, values in zip(blocks, cache.keys_and_values, cache.keys, cache.values, strict=True)
        ]

    def __call__(
        self,
        x: Float[Tensor, "batch 1 d_model"],
        mask: Bool[Tensor, "batch 1 1 keys"] | None = None,
        positions: Int[Tensor, "batch 1"] | None = None,
    ) -> Float[Tensor, "batch 1 d_model"]:
        """Arguments and result as of GPT.hidden_states."""
        cache, n_heads = self.cache, self.model.config.n_heads
        batch, n_kv_heads, _, head_dim = cache.keys[0].shape
        x, options = self.model.add_positions(x, mask, True, positions, cache)
        dtype = cache.keys_and_values.dtype
        scores = options.get("bias")  # what is added to them, once for all layers
        if scores is not None:
            scores = scores.to(dtype).expand(batch, -1, -1, -1).reshape(batch, n_kv_heads, -1, scores.shape[-1])
        if mask is not None:
            scores = torch.zeros((), dtype=dtype, device=x.device) if scores is None else scores
            scores = scores.masked_fill(~mask, -math.inf)
        if "rotary" in options:  # as in positions.rotate, once for all layers
            cos, sin = (part.to(dtype) for part in options["rotary"])
            cos, sin = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        now, end = cache.length, cache.length + 1
        for norm1, qkv, out, norm2, feed_forward, pairs, keys, values in self.layers:
            heads = qkv(norm1(x)).view(batch, -1, 1, head_dim)
            if "rotary" in options:
                turning = heads[:, : n_heads + n_kv_heads]
                torch.add(turning * cos, turning.roll(head_dim // 2, dims=-1) * sin, out=turning)
            pairs[:, :, now:end] = heads[:, n_heads:]
            query = heads[:, :n_heads].view(batch, n_kv_heads, -1, head_dim)
            mixed = F.scaled_dot_product_attention(query, keys[:, :, :end], values[:, :, :end], scores)
            x = x + out(mixed.reshape(batch, 1, -1))
            x = x + feed_forward(norm2(x))
        cache.length = end
        return self.model.norm(x)
