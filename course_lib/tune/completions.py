"""Prompts with their completions: the one form in which every method of this room reads text.

A completion is what the model is to write: the reply to a prompt, or what the assistant says in a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from course_lib.constants import IGNORE_INDEX


class TokenBatch(NamedTuple):
    """Token ids in rows that are padded on the right, and a mask of those that belong to completions.

    A decoder reads `inputs` and predicts `targets`: at each position the token after it.
    """

    ids: Int[Tensor, "batch tokens"]
    completion_mask: Bool[Tensor, "batch tokens"]

    @property
    def inputs(self) -> Int[Tensor, "batch positions"]:
        """All tokens but the last of each row."""
        return self.ids[:, :-1]

    @property
    def targets(self) -> Int[Tensor, "batch positions"]:
        """The token after each input; -100, which no loss counts, where that belongs to a prompt or is padding."""
        return self.ids[:, 1:].masked_fill(~self.target_mask, IGNORE_INDEX)

    @property
    def target_mask(self) -> Bool[Tensor, "batch positions"]:
        """Whether the token after each input belongs to a completion."""
        return self.completion_mask[:, 1:]

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on a device."""
        return TokenBatch(self.ids.to(device), self.completion_mask.to(device))

    def completions(self) -> list[list[int]]:
        """The completion of each row, as a list of token ids."""
        return [ids[mask].tolist() for ids, mask in zip(self.ids, self.completion_mask, strict=True)]


@dataclass(frozen=True)
class Examples:
    """Prompts with completions, of any length, as the samples of a Loader.

    Attributes:
        ids: the tokens of each example.
        completion_mask: which of them belong to the completion.
        pad_id: the token that shorter rows of a batch are padded with.
    """

    ids: Sequence[Int[Tensor, " _"]]
    completion_mask: Sequence[Bool[Tensor, " _"]]
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: Int[Tensor, " chosen"]) -> TokenBatch:
        chosen = which.tolist()
        ids = pad_sequence([self.ids[i] for i in chosen], batch_first=True, padding_value=self.pad_id)
        mask = pad_sequence([self.completion_mask[i] for i in chosen], batch_first=True, padding_value=False)
        return TokenBatch(ids, mask)

    def all(self) -> TokenBatch:
        """All examples as one batch."""
        return self[torch.arange(len(self))]


def completion_examples(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    eos_token_id: int | None = None,
    pad_id: int = 0,
) -> Examples:
    """Join each prompt with its completion and, after it, the token that ends a completion.

    Args:
        prompts: token ids of each prompt.
        completions: token ids of each completion.
        eos_token_id: the token to add after each completion, a part of it; None if they hold it already or are cut off.
        pad_id: what shorter rows of a batch are padded with.

    Raises:
        ValueError: for different numbers of prompts and completions, or for one of them without tokens.
    """
    if not len(prompts) or len(prompts) != len(completions):
        raise ValueError(
            f"{len(prompts)} prompts and {len(completions)} completions make no pairs; each prompt needs one"
        )
    ending = [] if eos_token_id is None else [eos_token_id]
    ids, masks = [], []
    for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        if not len(prompt):
            raise ValueError(f"prompt {i} is empty, so nothing would predict its completion; begin it with a mark")
        whole = torch.tensor([*prompt, *completion, *ending])
        if len(whole) == len(prompt):
            raise ValueError(f"completion {i} is empty, so there is nothing to learn; name the token that ends one")
        ids.append(whole)
        masks.append(torch.arange(len(whole)) >= len(prompt))
    return Examples(ids, masks, pad_id)


def completion_logprobs(model: nn.Module, texts: TokenBatch) -> Float[Tensor, "batch positions"]:
    """log p(token | the tokens before it), in nats, of every token of the completions; 0 for all other tokens.

    The sum of a row is log p(completion | prompt). The model is any decoder that is called with ids.
    """
    texts = texts.to(device_of(model))
    return token_logprobs(model(texts.inputs), texts.targets)


def token_logprobs(
    logits: Float[Tensor, "batch positions vocab"], targets: Int[Tensor, "batch positions"]
) -> Float[Tensor, "batch positions"]:
    """log softmax(logits) at the targets, in float32 at least; 0 where the target is -100."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    surprise = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none")
    return -surprise.view(targets.shape)


def device_of(model: nn.Module) -> torch.device:
    """The device that the parameters of a model are on."""
    return next(model.parameters()).device
