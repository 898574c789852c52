"""A decoder with a KV cache: it reads the prompt in one pass (prefill), then one token at a time (decode)."""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.infer.generation.decode_step import DecodeStep, find_decode_step
from course_lib.models.gpt import GPT
from course_lib.nn.cache import KVCache


class CachedDecoder:
    """A decoder with a KV cache of its own.

    Args:
        decoder: A GPT, or the language model of a VLM.
        positions: The positions of all tokens that may be read; `room` is the capacity of the cache.
        mask: True for real tokens, False for padding.
    """

    def __init__(
        self,
        decoder: GPT,
        positions: Int[Tensor, "batch room"],
        mask: Bool[Tensor, "batch 1 1 room"] | None = None,
    ) -> None:
        device, dtype = positions.device.type, next(decoder.parameters()).dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        self.decoder = decoder
        self.positions = positions
        self.mask = mask
        self.cache = KVCache(decoder.config, *positions.shape, dtype=dtype, device=positions.device)

    def next_logits(self, x: Float[Tensor, "batch tokens d_model"], last: int = 1) -> Float[Tensor, "batch last vocab"]:
        """Read the next tokens, and compute the logits of what follows each of the `last` of them.

        Raises the same errors as `GPT.forward`.
        """
        start, end = self.cache.length, self.cache.length + x.shape[1]
        positions = self.positions[:, start:end]
        if x.shape[1] == 1 and start and (step := self.decode_step):
            return step(x, positions)
        mask = None if self.mask is None else self.mask[..., :end]
        x = self.decoder.hidden_states(x, mask, positions=positions, cache=self.cache)
        return self.decoder.lm_head(x[:, -last:])

    @cached_property
    def decode_step(self) -> DecodeStep | None:
        """The fast form of a step of one token a row; None if only the plain form is known to be right."""
        return find_decode_step(self.decoder, self.cache, self.mask)


def left_pad(
    prompts: Sequence[Sequence[int]], more: int, padding: int, device: torch.device
) -> tuple[Int[Tensor, "batch longest"], Int[Tensor, "batch room"], Bool[Tensor, "batch 1 1 room"] | None]:
    """Pad prompts on the left, so that all rows continue in the same column.

    Args:
        prompts: Lists of token ids, of any lengths.
        more: The number of tokens that may follow.
        padding: The id of the padding token; nothing attends to it.
        device: The device of the result.

    Returns:
        The padded ids, and the positions and the mask for them and the `more` tokens that follow; the mask is None if
        nothing was padded.
    """
    longest = max(map(len, prompts))
    ids = torch.tensor([[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    skipped = torch.tensor([[longest - len(prompt)] for prompt in prompts], device=device)
    columns = torch.arange(longest + more, device=device)
    mask = (columns >= skipped)[:, None, None] if skipped.any() else None
    return ids, (columns - skipped).clamp(min=0), mask
