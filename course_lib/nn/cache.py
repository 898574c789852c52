"""The KV cache: the keys and values of the tokens that a model has read, so that they are computed only once."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.nn.attention import add_causal_mask


@runtime_checkable
class CacheSettings(Protocol):
    """The settings of a decoder that say how large its KV cache is; a GPTConfig has them."""

    @property
    def n_layers(self) -> int:
        """The number of blocks."""

    @property
    def n_kv_heads(self) -> int:
        """The number of key/value heads."""

    @property
    def head_dim(self) -> int:
        """The width of a head."""


class KVCache:
    """A KV cache: the keys and values of every layer, in memory that is allocated once.

    A model that is called with a cache reads its tokens as the continuation of those in the cache, and adds them to it:
    model(ids, cache=cache).

    Args:
        config: The config of the decoder.
        batch: The number of rows.
        capacity: The number of tokens per row for which there is room.
        dtype: The dtype of the model's activations; None for torch's default.
        device: The device that holds the cache.

    Attributes:
        length: The number of tokens per row that are in the cache so far.
        keys: The keys, "layers batch kv_heads capacity head_dim".
        values: The values, of the same shape.
        positions: The position of each token in its text, "batch capacity".

    Raises:
        ValueError: If there are no rows or there is no room.
    """

    def __init__(
        self,
        config: CacheSettings,
        batch: int,
        capacity: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if batch < 1 or capacity < 1:
            raise ValueError(f"a cache for {batch} rows of {capacity} tokens holds nothing; both must be at least 1")
        shape = (config.n_layers, batch, config.n_kv_heads, capacity, config.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.positions = torch.empty(batch, capacity, dtype=torch.long, device=device)
        self.length = 0

    def rewind(self, n: int) -> None:
        """Forget all but the first n tokens.

        Raises:
            ValueError: If the cache has fewer than n tokens.
        """
        if not 0 <= n <= self.length:
            raise ValueError(f"the cache holds {self.length} tokens and cannot go back to {n}")
        self.length = n

    def append_positions(
        self, x: Float[Tensor, "batch tokens d_model"], positions: Int[Tensor, "#batch tokens"] | None
    ) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch keys"]]:
        """Store the positions of new tokens, before any layer appends their keys and values.

        Args:
            x: The vectors of the new tokens.
            positions: The positions of the new tokens; None for those that follow the cached tokens.

        Returns:
            The positions of the new tokens, and of all tokens so far.

        Raises:
            ValueError: If there is no room for them, or if x does not have as many rows as the cache.
        """
        batch, n = x.shape[:2]
        rows, room = self.positions.shape
        if batch != rows:
            raise ValueError(f"the cache was made for {rows} rows, but {batch} come; make one for {batch}")
        end = self.length + n
        if end > room:
            raise ValueError(
                f"the cache has room for {room} tokens a row; {self.length} are in it and {n} more do not fit"
            )
        if positions is None:
            positions = torch.arange(self.length, end, device=x.device)[None]
        self.positions[:, self.length : end] = positions
        return self.positions[:, self.length : end], self.positions[:, :end]

    def causal_mask(self, mask: Bool[Tensor, "..."] | None, n: int) -> Bool[Tensor, "..."] | None:
        """Return the mask of n new tokens: they may attend to all tokens before them and, causally, to each other.

        Args:
            mask: True where they may attend to the key; None for everywhere.
            n: The number of new tokens.
        """
        if n == 1:  # nothing is later
            return mask
        return add_causal_mask(mask, n, self.keys.device, n_earlier=self.length)

    def append(
        self,
        layer: int,
        key: Float[Tensor, "batch kv_heads tokens head_dim"],
        value: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[Float[Tensor, "batch kv_heads keys head_dim"], Float[Tensor, "batch kv_heads keys head_dim"]]:
        """Append the keys and values of new tokens, and return those of all tokens so far.

        The model increases `length` once every layer has appended its own.

        Args:
            layer: The index of the layer, from 0.
            key: The keys of the new tokens.
            value: The values of the new tokens.

        Raises:
            ValueError: If the keys have another dtype than the cache, or if a gradient would be lost.
        """
        if key.dtype != self.keys.dtype:
            raise ValueError(f"the cache is {self.keys.dtype}, but the keys are {key.dtype}; make it with dtype=")
        if torch.is_grad_enabled() and key.requires_grad:
            raise ValueError("no gradient passes through a cache; call the model under torch.no_grad()")
        end = self.length + key.shape[2]
        keys, values = self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        keys[:, :, self.length :] = key
        values[:, :, self.length :] = value
        return keys, values
