"""Keys and values of the tokens that a model has read, kept so that the next token finds them."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.nn.attention import causal_mask


class KVCache:
    """Room for the keys and values of `room` tokens a row, in every layer, all of it taken at once.

    A model that is called with it reads the tokens after those that are in it, and adds them: model(ids, cache=cache).
    config: of a decoder; its n_layers, n_kv_heads and head_dim are what counts. length: the room, in tokens a row;
    afterwards `length` is how many are in it. dtype: that of the model's activations, None for torch's default.
    `keys_and_values`, "layers batch 2*kv_heads room head_dim", holds the keys of all heads and then the values;
    `positions`, "batch room", where each token stands in its text.
    Raises ValueError for no rows or no room.
    """

    def __init__(
        self,
        config: Any,
        batch: int,
        length: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if batch < 1 or length < 1:
            raise ValueError(f"a cache for {batch} rows of {length} tokens holds nothing; both must be at least 1")
        shape = (config.n_layers, batch, 2 * config.n_kv_heads, length, config.head_dim)
        self.keys_and_values = torch.empty(shape, dtype=dtype, device=device)
        self.keys, self.values = self.keys_and_values.chunk(2, dim=2)
        self.positions = torch.empty(batch, length, dtype=torch.long, device=device)
        self.length = 0

    def rewind(self, n: int) -> None:
        """Forget all but the first n tokens. Raises ValueError when there are not so many."""
        if not 0 <= n <= self.length:
            raise ValueError(f"the cache holds {self.length} tokens and cannot go back to {n}")
        self.length = n

    def append_positions(
        self, x: Float[Tensor, "batch tokens d_model"], positions: Int[Tensor, "#batch tokens"] | None
    ) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch keys"]]:
        """The positions of the tokens about to be read, None for those that follow, and of all that they may look at.

        Raises ValueError when they are too many, or not as many rows as the cache has.
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
        """Where n tokens about to be read may look: at what is there and at each other causally, where mask is True."""
        if n == 1:  # at everything
            return mask
        triangle = causal_mask(self.length + n, self.keys.device)[self.length :]
        return triangle if mask is None else mask & triangle

    def append(
        self,
        layer: int,
        key: Float[Tensor, "batch kv_heads tokens head_dim"],
        value: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[Float[Tensor, "batch kv_heads keys head_dim"], Float[Tensor, "batch kv_heads keys head_dim"]]:
        """Write what is new behind what is there; return all of it. `length` grows when every layer has done so.

        Raises ValueError for another dtype, and where a gradient would be lost.
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
