"""Objectives: each takes a model and a batch and gives the number to bring down."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.nn.kernels.cross_entropy import IGNORE, cross_entropy_sum


class Loss(NamedTuple):
    """A sum over targets and their number: the mean over several batches is that over all their targets."""

    total: Float[Tensor, ""]
    targets: Tensor | int

    @property
    def mean(self) -> Float[Tensor, ""]:
        """Nats a target; 0 where there is none."""
        return self.total / torch.as_tensor(self.targets).clamp(min=1)


def cross_entropy(logits: Float[Tensor, "*batch classes"], targets: Int[Tensor, "*batch"]) -> Loss:
    """The surprise, in nats, at the targets; one of -100 does not count."""
    return Loss(cross_entropy_sum(logits.flatten(0, -2), targets.flatten()), (targets != IGNORE).sum())


def next_token_loss(model: nn.Module, windows: Int[Tensor, "batch length_plus_1"]) -> Loss:
    """The surprise at each token, given the ones before it."""
    return cross_entropy(model(windows[:, :-1]), windows[:, 1:])


def mask_tokens(
    ids: Int[Tensor, "batch tokens"],
    generator: torch.Generator,
    mask_id: int,
    vocab_size: int,
    special: Iterable[int] = (),
    rate: float = 0.15,
) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]:
    """(inputs, targets) of masked language modelling: a share `rate` of the tokens is to be guessed from the others.

    Of the chosen tokens 80 % become `mask_id`, 10 % any token of the vocabulary, and 10 % stay: so the model cannot
    trust what it sees either. Their targets are what they were, all other targets -100, which does not count.
    special: ids that are never chosen, as those of padding and of marks. The generator is on the device of `ids`.
    Raises ValueError for a rate that is no share, or a mask_id outside the vocabulary.
    Source: Devlin et al. 2018, section 3.1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate} must be a share, from 0 to 1")
    if not 0 <= mask_id < vocab_size:
        raise ValueError(f"mask_id={mask_id} is outside the vocabulary of {vocab_size}")
    never = torch.tensor(list(special), dtype=ids.dtype, device=ids.device)
    # One number decides about each token: below `rate` it is chosen, and how far below tells what becomes of it.
    draw = torch.rand(ids.shape, generator=generator, device=ids.device)
    random = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    chosen = (draw < rate) & ~torch.isin(ids, never)
    changed = torch.where(draw < 0.8 * rate, mask_id, torch.where(draw < 0.9 * rate, random, ids))
    return torch.where(chosen, changed, ids), torch.where(chosen, ids, -100)


def masked_token_loss(model: nn.Module, batch: tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]) -> Loss:
    """The surprise at the chosen tokens of a batch from `mask_tokens`."""
    inputs, targets = batch
    return cross_entropy(model(inputs), targets)


def caption_loss(
    model: nn.Module,
    batch: tuple[
        Int[Tensor, "batch tokens"],
        Int[Tensor, "batch tokens"],
        Float[Tensor, "pictures channels height width"] | None,
    ],
) -> Loss:
    """The surprise at the answers to texts with pictures: (ids, targets) as from `answers`, and the pictures.

    model: anything that gives logits for ids and pictures, as VLM. Source: Liu et al. 2023, equation 3.
    """
    ids, targets, pictures = batch
    return cross_entropy(model(ids, pictures), targets)


def answers(
    prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], end: int
) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]:
    """(ids, targets): each prompt with its reply, where the reply and the `end` behind it alone are to be learned.

    A target is the token after the one at its place, or -100, which does not count. Short rows are filled up with
    `end` on the right, where no earlier token looks. Raises ValueError for an empty prompt, or other numbers of both.
    """
    if not prompts or len(prompts) != len(replies):
        raise ValueError(
            f"{len(prompts)} prompts and {len(replies)} replies make no batch; each prompt needs its reply"
        )
    empty = next((i for i, prompt in enumerate(prompts) if not len(prompt)), None)
    if empty is not None:
        raise ValueError(f"prompt {empty} is empty, so nothing would foretell its reply; begin it with a mark")
    n = max(len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True))
    ids, targets = torch.full((len(prompts), n), end), torch.full((len(prompts), n), -100)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        ids[row, : len(prompt) + len(reply)] = torch.tensor([*prompt, *reply])
        targets[row, len(prompt) - 1 : len(prompt) + len(reply)] = torch.tensor([*reply, end])
    return ids, targets


def contrastive_loss(
    model: nn.Module, batch: tuple[Float[Tensor, "pairs channels height width"], Int[Tensor, "pairs tokens"]]
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of finding each picture's text among all texts of the batch, and the reverse.

    batch: pictures and their texts in the same order, all of them different: the same text twice would count as wrong.
    model: anything that gives logits "pictures texts" for them, as CLIP. Source: Radford et al. 2021, figure 3.
    """
    logits = model(*batch)
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
