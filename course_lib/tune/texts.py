"""Prompts with replies: the one form in which all methods of this room read them, and how likely a model finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from course_lib.nn.kernels.cross_entropy import IGNORE


class Texts(NamedTuple):
    """Rows of tokens, filled up on the right, and which of them are to be learned: those of replies, not of prompts."""

    ids: Int[Tensor, "batch tokens"]
    learn: Bool[Tensor, "batch tokens"]

    @property
    def targets(self) -> Int[Tensor, "batch places"]:
        """What is to follow each token but the last; -100 where that is of a prompt or padding, and does not count."""
        return self.ids[:, 1:].masked_fill(~self.learn[:, 1:], IGNORE)

    def to(self, device: torch.device) -> Texts:
        """The same on a device."""
        return Texts(self.ids.to(device), self.learn.to(device))

    def replies(self) -> list[list[int]]:
        """The tokens of each row that are to be learned."""
        return [ids[learn].tolist() for ids, learn in zip(self.ids, self.learn, strict=True)]


@dataclass(frozen=True)
class Examples:
    """Texts of any length, and which of their tokens are to be learned, as the samples of a Loader."""

    ids: Sequence[Int[Tensor, " _"]]
    learn: Sequence[Bool[Tensor, " _"]]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: Int[Tensor, " chosen"]) -> Texts:
        chosen = which.tolist()
        ids, learn = (pad_sequence([part[i] for i in chosen], batch_first=True) for part in (self.ids, self.learn))
        return Texts(ids, learn)  # filled up with token 0, which every vocabulary has, and False

    def all(self) -> Texts:
        """One batch of all texts."""
        return self[torch.arange(len(self))]


def pairs(prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], end: int | None = None) -> Examples:
    """Each prompt with its reply, of which the reply and the token `end` behind it are to be learned.

    end: None if the replies hold it already, or are cut off. Raises ValueError for other numbers of both, and where a
    prompt or a reply has no tokens.
    """
    if not len(prompts) or len(prompts) != len(replies):
        raise ValueError(
            f"{len(prompts)} prompts and {len(replies)} replies make no pairs; each prompt needs its reply"
        )
    endings = [] if end is None else [end]
    ids, learn = [], []
    for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        if not len(prompt):
            raise ValueError(f"prompt {i} is empty, so nothing would foretell its reply; begin it with a mark")
        whole = torch.tensor([*prompt, *reply, *endings])
        if len(whole) == len(prompt):
            raise ValueError(f"reply {i} is empty, so there is nothing to learn; name the token that ends a reply")
        ids.append(whole)
        learn.append(torch.arange(len(whole)) >= len(prompt))
    return Examples(ids, learn)


def log_probabilities(model: nn.Module, texts: Texts) -> Float[Tensor, "batch places"]:
    """log p(token | those before it) of every token but the first, in nats; 0 where it is of a prompt or padding.

    The sum of a row is log p(reply | prompt). model: any decoder, called with ids.
    """
    texts = texts.to(device(model))
    return chosen(model(texts.ids[:, :-1]), texts.targets)


def chosen(
    logits: Float[Tensor, "batch places vocab"], targets: Int[Tensor, "batch places"]
) -> Float[Tensor, "batch places"]:
    """log softmax(logits) at the targets, in float32 at least; 0 at a target of -100."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    surprise = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none")
    return -surprise.view(targets.shape)


def device(model: nn.Module) -> torch.device:
    """Where the model is."""
    return next(model.parameters()).device
