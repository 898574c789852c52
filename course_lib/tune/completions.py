"""Prompts with their completions: the form in which nearly every method of this room reads text.

A completion is the text that the model should write after a prompt, or the assistant's turns in a conversation.
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
from course_lib.nn.storage import at_least_float32, device_of


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
        """The token after each input; -100, which no loss counts, where that token is padding or part of a prompt."""
        return self.ids[:, 1:].masked_fill(~self.target_mask, IGNORE_INDEX)

    @property
    def target_mask(self) -> Bool[Tensor, "batch positions"]:
        """Whether the token after each input belongs to a completion."""
        return self.completion_mask[:, 1:]

    def to(self, device: torch.device) -> TokenBatch:
        """Move the batch to a device."""
        return TokenBatch(self.ids.to(device), self.completion_mask.to(device))

    def completions(self) -> list[list[int]]:
        """Return the completion of each row as a list of token ids."""
        return [ids[mask].tolist() for ids, mask in zip(self.ids, self.completion_mask, strict=True)]


@dataclass(frozen=True)
class Examples:
    """Prompts with completions, of any length, as the samples of a Loader.

    Attributes:
        ids: The token ids of each example.
        completion_mask: Which of them belong to the completion.
        pad_id: The token that shorter rows of a batch are padded with.
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
        """Return all examples as one batch."""
        return self[torch.arange(len(self))]


def completion_examples(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    eos_token_id: int | None = None,
    pad_id: int = 0,
) -> Examples:
    """Join each prompt with its completion and the token that ends it.

    Args:
        prompts: Token ids of each prompt.
        completions: Token ids of each completion.
        eos_token_id: The token to add to the end of each completion; None if completions hold it already or are cut
            off.
        pad_id: The token that shorter rows of a batch are padded with.

    Raises:
        ValueError: If there are no prompts, if the numbers of prompts and completions differ, or if one of them has no
            tokens.
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
    """Compute log p(token | the tokens before it), in nats, for the completions' tokens; 0 for all others.

    The sum of a row is log p(completion | prompt). The model can be any decoder that is called with ids.
    """
    texts = texts.to(device_of(model))
    return token_logprobs(model(texts.inputs), texts.targets)


def token_logprobs(
    logits: Float[Tensor, "batch positions vocab"], targets: Int[Tensor, "batch positions"]
) -> Float[Tensor, "batch positions"]:
    """Compute log softmax(logits) at the targets, in float32 at least; 0 where the target is -100."""
    logits = logits.to(at_least_float32(logits.dtype))
    surprise = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none")
    return -surprise.view(targets.shape)
