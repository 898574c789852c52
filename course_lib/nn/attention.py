"""Attention: scaled dot product, its masks, and the multi-head layer (Vaswani et al. 2017, section 3.2)."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from course_lib.nn.positions import Rotary, rotate
from course_lib.settings import check_counts

# A function from the keys and values of new tokens to those of all tokens so far: KVCache.append for one layer.
AppendToCache = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def causal_mask(n: int, device: torch.device | str | None = None) -> Bool[Tensor, "n n"]:
    """Return the causal mask of a decoder: a query may attend to its own position and to earlier ones.

    As in every mask of this course, True means that the query may attend to the key, and False hides the key.
    """
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def add_causal_mask(
    mask: Bool[Tensor, "..."] | None, n: int, device: torch.device | str | None = None, n_earlier: int = 0
) -> Bool[Tensor, "..."]:
    """Hide later positions in a mask too: the result is True where the mask is and the key is not after the query.

    Args:
        mask: True where the query may attend to the key; broadcastable to "batch heads query key". None for
            everywhere.
        n: The number of queries.
        device: The device of the mask.
        n_earlier: The number of keys before that of the first query, such as those in a cache.

    Returns:
        True where the query may attend to the key, as in `mask`; without one, "query key".
    """
    not_later = causal_mask(n_earlier + n, device)[n_earlier:]  # n n_earlier+n
    return not_later if mask is None else mask & not_later


def prefix_mask(n: int, prefix: int, device: torch.device | str | None = None) -> Bool[Tensor, "n n"]:
    """Return the mask of a prefix LM: causal, except that every query may attend to the first `prefix` positions.

    Raises:
        ValueError: Unless 0 <= prefix <= n.

    Source: Raffel et al. 2020, figure 3.
    """
    if not 0 <= prefix <= n:
        raise ValueError(f"a prefix of {prefix} does not fit in {n} positions; pass a number from 0 to {n}")
    mask = causal_mask(n, device)
    mask[:, :prefix] = True
    return mask


def padding_mask(lengths: Int[Tensor, " batch"], n: int) -> Bool[Tensor, "batch 1 1 n"]:
    """Return the mask that hides padding on the right: True for the first `lengths[i]` keys of sequence i."""
    return (torch.arange(n, device=lengths.device) < lengths[:, None])[:, None, None, :]


def attention_with_weights(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch kv_heads key head_dim"],
    value: Float[Tensor, "batch kv_heads key value_dim"],
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Float[Tensor, "batch heads query value_dim"], Float[Tensor, "batch heads query key"]]:
    """Compute softmax(query key^T / sqrt(head_dim) + bias) value step by step, and return the weights too.

    Arguments and errors are those of `attention`, which computes the same output faster.

    Source: Vaswani et al. 2017, equation 1.
    """
    key, value, mask = _repeat_heads_and_fold_mask(query, key, value, mask, causal)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = query @ key.transpose(-2, -1) * scale  # batch heads query key
    if bias is not None:
        scores = scores + bias.to(query.dtype)
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)  # hidden keys get no weight
        weights = weights.masked_fill(~mask, 0)  # a query with all keys hidden: NaN after the softmax, 0 here
    return weights @ value, weights  # batch heads query value_dim


def attention(
    query: Float[Tensor, "batch heads query head_dim"],
    key: Float[Tensor, "batch kv_heads key head_dim"],
    value: Float[Tensor, "batch kv_heads key value_dim"],
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "batch heads query value_dim"]:
    """Compute softmax(query key^T / sqrt(head_dim) + bias) value with torch's fused kernel, which stores no weights.

    `attention_with_weights` does the same step by step; it is the one to read.

    Args:
        query: What each position searches for.
        key: What each position is found by. With fewer key/value heads than query heads, each key/value head serves a
            group of neighbouring query heads (Ainslie et al. 2023).
        value: What each position passes on to the queries that attend to it.
        mask: True where the query may attend to the key; broadcastable to "batch heads query key". A query that may
            attend to no key gets zeros.
        bias: Added to the scores; broadcastable to the same shape.
        causal: Also hide later positions; faster than a causal mask.
        scale: Factor on the scores; None for 1 / sqrt(head_dim).

    Raises:
        ValueError: If the mask is not boolean, the query heads do not divide into equal groups, or `causal` is set and
            there are not as many queries as keys.

    Source: Vaswani et al. 2017, equation 1.
    """
    groups = _group_size(query, key, mask, causal)
    if causal and (mask is not None or bias is not None):
        mask, causal = add_causal_mask(mask, query.shape[2], query.device), False
    mask = additive_mask(mask, bias, query.dtype)
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale, enable_gqa=groups > 1)


def additive_mask(
    mask: Bool[Tensor, "..."] | None, bias: Float[Tensor, "..."] | None, dtype: torch.dtype
) -> Shaped[Tensor, "..."] | None:
    """Merge a mask and a bias on the scores into the one mask that torch's kernel takes: boolean, or added to them."""
    if bias is not None:
        bias = bias.to(dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    if mask is not None and mask.dim() == 3:
        mask = mask[None]  # with three dimensions torch falls back to an unfused path, at twice the time
    return mask


def _group_size(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool) -> int:
    """Return the number of query heads that share one key/value head, after a check of the arguments."""
    if mask is not None and mask.dtype != torch.bool:  # torch would add numbers to the scores
        raise ValueError(
            f"mask has the dtype {mask.dtype}; pass a boolean one, True where the query may attend to the key"
        )
    groups, rest = divmod(query.shape[1], key.shape[1])
    if rest:
        raise ValueError(f"{query.shape[1]} query heads cannot share {key.shape[1]} key/value heads equally")
    if causal and query.shape[2] != key.shape[2]:
        raise ValueError("causal=True needs as many queries as keys; pass a mask for anything else")
    return groups


def _repeat_heads_and_fold_mask(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Repeat keys and values for each query head, and merge the causal mask into the mask if `causal`."""
    groups = _group_size(query, key, mask, causal)
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    return key, value, add_causal_mask(mask, query.shape[2], query.device) if causal else mask


class MultiHeadAttention(nn.Module):
    """Multi-head attention: over the sequence itself, or over a memory (cross-attention).

    `attend` is the attention function of the layer. You can assign your own function to it, which is called as
    attend(query, key, value, mask), with as many key/value heads as query heads; `rotate(x, cos, sin)` can be replaced
    in the same way.

    Args:
        d_model: The width of input and output.
        n_heads: The number of query heads.
        n_kv_heads: The number of key/value heads, each shared by a group of query heads; None for n_heads.
        bias: Whether the layers that compute queries, keys and values have a bias.
        head_dim: The width of a head; None for d_model / n_heads.
        out_bias: Whether the output layer has a bias; None for the same as `bias`.
        scale: Factor on the scores; None for 1 / sqrt(head_dim).

    Raises:
        ValueError: If a number is below 1, n_heads is not a multiple of n_kv_heads or, without a head_dim, d_model is
            not a multiple of n_heads.

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        bias: bool = False,
        *,
        head_dim: int | None = None,
        out_bias: bool | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        check_counts(self, "n_heads", "n_kv_heads")
        if n_heads % self.n_kv_heads or (head_dim is None and d_model % n_heads):
            raise ValueError(
                f"d_model={d_model} must be a multiple of n_heads={n_heads}, and that of n_kv_heads={self.n_kv_heads}"
            )
        self.head_dim = d_model // n_heads if head_dim is None else head_dim
        check_counts(self, "head_dim")
        self.scale = scale
        # One matrix for queries, keys and values, in this order: one large product is faster than three small ones.
        self.qkv = nn.Linear(d_model, (n_heads + 2 * self.n_kv_heads) * self.head_dim, bias=bias)
        self.out = nn.Linear(n_heads * self.head_dim, d_model, bias=bias if out_bias is None else out_bias)
        self.attend: Callable[..., Tensor] = attention
        self.rotate: Callable[..., Tensor] = rotate

    @property
    def qkv_sizes(self) -> tuple[int, int, int]:
        """The numbers of rows of `qkv` that compute queries, keys and values."""
        return self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim, self.n_kv_heads * self.head_dim

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        rotary: Rotary | None = None,
        head_mask: Float[Tensor, " heads"] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        causal: bool = False,
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        cache: AppendToCache | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Let every token attend to the tokens of its sequence, or of a memory.

        Args:
            x: The vectors of the tokens.
            mask: True where the query may attend to the key; see `attention`.
            bias: Added to the scores.
            rotary: Cosines and sines that rotate queries and keys (RoPE); not with a memory.
            head_mask: Factors on each head's output before the output layer. A factor of 0 removes the head, and the
                gradient of a loss with respect to it is that head's importance (Michel et al. 2019, section 4.1).
            attention_weights: A list to which the attention weights, "batch heads tokens keys", are appended; None,
                which is faster, if you do not need them.
            causal: Also hide later positions.
            memory: The vectors from which keys and values are computed in place of x, for cross-attention, as from
                decoder to encoder.
            cache: A function that takes the keys and values of x and returns all those to attend to, the earlier ones
                included, as KVCache.append does.

        Raises:
            ValueError: If keys of a memory are to be rotated.
        """
        if memory is not None and rotary is not None:
            raise ValueError("rotary turns keys by the positions of x, and those of a memory are others")
        if memory is None:
            query, key, value = self.qkv(x).split(self.qkv_sizes, dim=-1)  # each: batch tokens (kv_)heads*head_dim
        else:
            query, key, value = self._project_to_memory(x, memory)
        query, key, value = self._heads(query), self._heads(key), self._heads(value)  # batch (kv_)heads tokens head_dim
        if rotary is not None:
            query, key = self.rotate(query, *rotary), self.rotate(key, *rotary)
        if cache is not None:
            key, value = cache(key, value)  # batch kv_heads keys head_dim

        if self.attend is not attention:
            heads = self._attend_with_custom_function(query, key, value, mask, bias, causal, attention_weights)
        elif attention_weights is None:
            heads = attention(query, key, value, mask, bias, causal=causal, scale=self.scale)
        else:
            heads, found = attention_with_weights(query, key, value, mask, bias, causal=causal, scale=self.scale)
            attention_weights.append(found)
        if head_mask is not None:
            heads = heads * head_mask[:, None, None]  # batch heads tokens head_dim
        return self.out(heads.transpose(1, 2).flatten(2))  # batch tokens d_model

    def _project_to_memory(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries from x, and keys and values from the memory, each with its rows of `qkv`."""
        q_rows, k_rows, _ = self.qkv_sizes
        weight, bias = self.qkv.weight, self.qkv.bias
        query = F.linear(x, weight[:q_rows], None if bias is None else bias[:q_rows])
        key_value = F.linear(memory, weight[q_rows:], None if bias is None else bias[q_rows:])
        return query, key_value[..., :k_rows], key_value[..., k_rows:]  # the last two: batch memory kv_heads*head_dim

    def _heads(self, x: Tensor) -> Tensor:
        """Reshape (batch, tokens, heads * head_dim) to (batch, heads, tokens, head_dim)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _attend_with_custom_function(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        causal: bool,
        attention_weights: list[Tensor] | None,
    ) -> Tensor:
        """Compute attention with the function assigned to `attend`."""
        if bias is not None or self.scale is not None:
            raise ValueError(
                "the function assigned to `attend` takes no bias and no scale of its own; use it in a model "
                "with other positions than those of ALiBi and T5"
            )
        key, value, mask = _repeat_heads_and_fold_mask(query, key, value, mask, causal)
        if attention_weights is not None:
            # Attention is linear in the values, so the identity in their place gives the weights of any such function.
            identity = torch.eye(key.shape[2], dtype=value.dtype, device=value.device)
            attention_weights.append(self.attend(query, key, identity.expand(*key.shape[:3], -1), mask))
        return self.attend(query, key, value, mask)
