"""The fast form of a decode step: one token a row through a GPT, as a flat list of products over weights fetched once.

A step is a hundred small operations. In the plain form, `GPT.hidden_states`, Python goes from one to the next through
modules, their hooks, options and checks, which for small models takes longer than the operations. Here the way through
the model is laid out once, before the first step.

`find_decode_step` decides whether a model may be run like this. Where it does not know that the result is the same, it
says None, and `CachedDecoder` takes the plain form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

from course_lib.models.gpt import GPT
from course_lib.nn.attention import MultiHeadAttention, additive_mask, attention
from course_lib.nn.block import Block
from course_lib.nn.cache import KVCache
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import Rotary, rotate

Apply = Callable[[Tensor], Tensor]
Kind = TypeVar("Kind", bound=nn.Module)

# A copy of the weights in the order in which a product of few rows reads them fastest. Making it takes as long as 30 to
# 140 tokens gain by it. Weights that fit into a core's cache gain nothing, and of very large ones memory has no two.
REORDERED_TOKENS = 128
REORDERED_WEIGHTS = range(1 << 20, 1 << 26)


class Layer(NamedTuple):
    """What a block does, as functions of vectors "batch width"."""

    norm1: Apply
    qkv: Apply
    out: Apply
    norm2: Apply
    feed_forward: Apply


class DecodeStep:
    """A decode step of a model with its cache; see `find_decode_step`."""

    def __init__(self, decoder: GPT, cache: KVCache, mask: Bool[Tensor, "batch 1 1 room"] | None) -> None:
        batch, room = cache.positions.shape
        linear = partial(_linear, rows=batch, reordered=_reordering_pays(decoder, room - cache.length))
        self.decoder, self.cache, self.mask = decoder, cache, mask
        blocks: list[Any] = list(decoder.blocks)
        self.sizes: tuple[int, int, int] = blocks[0].attention.qkv_sizes
        self.layers = [
            Layer(
                _norm(block.norm1),
                linear(block.attention.qkv),
                linear(block.attention.out),
                _norm(block.norm2),
                _feed_forward(block.feed_forward, linear),
            )
            for block in blocks
        ]
        self.norm, self.lm_head = _norm(decoder.norm), linear(decoder.lm_head)

    def __call__(
        self, x: Float[Tensor, "batch 1 d_model"], positions: Int[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch 1 vocab"]:
        """Read a token in every row, and compute the logits of what follows it; as `GPT.forward` with a cache does."""
        cache, config = self.cache, self.decoder.config
        at, end = cache.length, cache.length + 1
        positions, key_positions = cache.append_positions(x, positions)
        x, bias, rotary = self.decoder.add_positions(x, positions, key_positions)
        mask = additive_mask(None if self.mask is None else self.mask[..., :end], bias, x.dtype)
        rotary = rotary and _both_halves(rotary, x.dtype)
        x, batch = x[:, 0], len(x)
        query_heads = (batch, config.n_heads, 1, config.head_dim)
        new = (batch, config.n_kv_heads, config.head_dim)
        rotated = (batch, config.n_heads + config.n_kv_heads, config.head_dim)
        grouped = config.n_kv_heads < config.n_heads
        stores = zip(
            cache.keys[:, :, :, at].unbind(),
            cache.values[:, :, :, at].unbind(),
            cache.keys[:, :, :, :end].unbind(),
            cache.values[:, :, :, :end].unbind(),
            strict=True,
        )
        for layer, (new_key, new_value, keys, values) in zip(self.layers, stores, strict=True):
            qkv = layer.qkv(layer.norm1(x))
            if rotary:  # queries and keys lie side by side
                cos, sin = rotary
                pairs = qkv[:, : -self.sizes[2]].view(rotated)
                pairs = pairs * cos + pairs.roll(config.head_dim // 2, dims=-1) * sin
                query, key = pairs.split_with_sizes((config.n_heads, config.n_kv_heads), dim=1)
                query, value = query[:, :, None], qkv[:, -self.sizes[2] :]
            else:
                query, key, value = qkv.split_with_sizes(self.sizes, dim=-1)
                query = query.view(query_heads)
            new_key.copy_(key.view(new))
            new_value.copy_(value.view(new))
            heads = F.scaled_dot_product_attention(query, keys, values, mask, enable_gqa=grouped)
            x = x + layer.out(heads.reshape(batch, -1))
            x = x + layer.feed_forward(layer.norm2(x))
        cache.length = end
        return self.lm_head(self.norm(x))[:, None]


def find_decode_step(decoder: GPT, cache: KVCache, mask: Bool[Tensor, "batch 1 1 room"] | None) -> DecodeStep | None:
    """Return the fast form of this model's decode step, or None if only the plain form is known to be right.

    Every part between the tokens and the logits has to run the code that this file repeats: no subclass, hook or
    compiled form of it, and attention without a function of one's own or a prefix. Other linear layers (quantized, with
    LoRA), norms and feed-forward networks (mixtures, with adapters) are called as they are. The weights are those of
    now: a change after this, in the middle of a text, may not count.

    Args:
        decoder: The model.
        cache: Its cache, with the prompt in it.
        mask: True for real tokens, False for padding.
    """
    hooked = hooks_of_all._global_forward_hooks or hooks_of_all._global_forward_pre_hooks
    if hooked or torch.is_grad_enabled() or torch.is_autocast_enabled(cache.keys.device.type):
        return None
    if not _runs(decoder, GPT):
        return None
    config = decoder.config
    for block in decoder.blocks:
        if not _runs(block, Block) or not block.norm_first:
            return None
        part = block.attention
        if not _runs(part, MultiHeadAttention) or part.attend is not attention or part.rotate is not rotate:
            return None
        shape = (part.n_heads, part.n_kv_heads, part.head_dim, part.scale)
        if shape != (config.n_heads, config.n_kv_heads, config.head_dim, None):  # of one whose heads were removed
            return None
    if any(parameter.dtype != cache.keys.dtype for parameter in decoder.parameters()):
        return None
    return DecodeStep(decoder, cache, mask)


def _runs(module: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Whether calling the module runs the forward pass of this class and nothing else."""
    return (
        type(module) is kind
        and "forward" not in vars(module)
        and not (module._forward_hooks or module._forward_pre_hooks or module._compiled_call_impl)
    )


def _norm(norm: nn.Module) -> Apply:
    if not _runs(norm, nn.LayerNorm):
        return norm.forward if _runs(norm, RMSNorm) else norm
    shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)  # what F.layer_norm calls, without its wrapper


def _feed_forward(part: nn.Module, linear: Callable[[nn.Module], Apply]) -> Apply:
    if _runs(part, FeedForward):
        activate, up, down = ACTIVATIONS[part.activation], linear(part.up), linear(part.down)
        return lambda x: down(activate(up(x)))
    if _runs(part, GatedFeedForward):
        activate, gate = ACTIVATIONS[part.activation], linear(part.gate)
        up, down = linear(part.up), linear(part.down)
        return lambda x: down(activate(gate(x)) * up(x))
    return part


def _linear(layer: nn.Module, rows: int, reordered: bool) -> Apply:
    """A linear layer as a function of `rows` rows."""
    if not _runs(layer, nn.Linear):
        return layer
    weight, bias = layer.weight, layer.bias
    wide = layer.out_features > layer.in_features  # then columns are longer than rows: memory gives long pieces faster
    if not reordered or (rows == 1 and not wide):
        return lambda x: F.linear(x, weight, bias)
    if rows > 1:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
        product = torch.ops.mkldnn._linear_pointwise.default
        return lambda x: product(x, packed, bias, "none", [], "")
    columns = weight.t().contiguous()
    return (lambda x: x @ columns) if bias is None else (lambda x: torch.addmm(bias, x, columns))


def _reordering_pays(decoder: GPT, tokens: int) -> bool:
    """Whether so many tokens are to come, of a model of such a size, that a copy of its weights saves time.

    On a CPU, in float32. A step of a GPT-2 of 6 layers x 384 then takes 5 to 10 % less on an Intel Xeon, with one row
    (a product by columns, in layers that widen) and with 16 (the packed form of oneDNN). On an AMD EPYC a product by
    columns takes about half the time in a layer that widens, and more time in one that narrows.
    """
    weight = decoder.lm_head.weight if isinstance(decoder.lm_head, nn.Linear) else None
    return (
        tokens >= REORDERED_TOKENS
        and weight is not None
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and sum(part.weight.numel() for part in decoder.modules() if isinstance(part, nn.Linear)) in REORDERED_WEIGHTS
    )


def _both_halves(rotary: Rotary, dtype: torch.dtype) -> Rotary:
    """Cosines and sines for both halves of a head, as `rotate` makes them in every layer: "batch 1 head_dim"."""
    cos, sin = (part[:, :, 0] for part in rotary)
    return torch.cat((cos, cos), dim=-1).to(dtype), torch.cat((-sin, sin), dim=-1).to(dtype)
