"""Losses: each takes a model and a batch."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.constants import IGNORE_INDEX
from course_lib.nn.kernels.cross_entropy import cross_entropy_sum


class Loss(NamedTuple):
    """A sum over targets, and their number, so that the mean over several batches is one over all their targets."""

    total: Float[Tensor, ""]
    targets: Tensor | int

    @property
    def mean(self) -> Float[Tensor, ""]:
        """Nats a target; 0 if there is no target."""
        return self.total / torch.as_tensor(self.targets).clamp(min=1)


def cross_entropy(logits: Float[Tensor, "*batch classes"], targets: Int[Tensor, "*batch"]) -> Loss:
    """-log p(target) in nats, under softmax(logits); a target of -100 does not count."""
    return Loss(cross_entropy_sum(logits.flatten(0, -2), targets.flatten()), (targets != IGNORE_INDEX).sum())


def next_token_loss(model: nn.Module, windows: Int[Tensor, "batch length_plus_1"]) -> Loss:
    """Cross-entropy of each token, given the ones before it."""
    return cross_entropy(model(windows[:, :-1]), windows[:, 1:])


def mask_tokens(
    ids: Int[Tensor, "batch tokens"],
    generator: torch.Generator,
    mask_id: int,
    vocab_size: int,
    special: Iterable[int] = (),
    rate: float = 0.15,
) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]:
    """Choose the tokens that masked language modelling predicts from the others, and hide them.

    Of the chosen tokens 80 % become `mask_id`, 10 % a random token, and 10 % stay, so that the model cannot trust the
    tokens that it sees either.

    Args:
        ids: the texts.
        generator: on the device of `ids`.
        mask_id: the id of the mask token.
        vocab_size: random tokens are below it.
        special: ids that are never chosen, such as padding.
        rate: the share of tokens that is chosen.

    Returns:
        (inputs, targets): what the model reads; and what the chosen tokens were, -100 for all others.

    Raises:
        ValueError: for a rate outside 0 to 1, or a mask_id outside the vocabulary.

    Source: Devlin et al. 2018, section 3.1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate} must be a share, from 0 to 1")
    if not 0 <= mask_id < vocab_size:
        raise ValueError(f"mask_id={mask_id} is outside the vocabulary of {vocab_size}")
    special_ids = torch.tensor(list(special), dtype=ids.dtype, device=ids.device)
    # One number decides about each token: below `rate` it is chosen, and how far below tells what becomes of it.
    draw = torch.rand(ids.shape, generator=generator, device=ids.device)
    random = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    chosen = (draw < rate) & ~torch.isin(ids, special_ids)
    changed = torch.where(draw < 0.8 * rate, mask_id, torch.where(draw < 0.9 * rate, random, ids))
    return torch.where(chosen, changed, ids), torch.where(chosen, ids, IGNORE_INDEX)


def masked_token_loss(model: nn.Module, batch: tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]) -> Loss:
    """Cross-entropy of the chosen tokens of a batch from `mask_tokens`."""
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
    """Cross-entropy of the answers to texts with pictures.

    Args:
        model: anything that gives logits for ids and pictures, such as VLM.
        batch: inputs and targets as in `course_lib.tune.completions.TokenBatch`, and the pictures.

    Source: Liu et al. 2023, equation 3.
    """
    ids, targets, pictures = batch
    return cross_entropy(model(ids, pictures), targets)


def contrastive_loss(
    model: nn.Module, batch: tuple[Float[Tensor, "pairs channels height width"], Int[Tensor, "pairs tokens"]]
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of finding each picture's text among all texts of the batch, and the reverse.

    Args:
        model: anything that gives logits "pictures texts" for them, such as CLIP.
        batch: pictures and their texts in the same order, all different: the same text twice would count as wrong.

    Source: Radford et al. 2021, figure 3.
    """
    logits = model(*batch)  # (pictures, texts)
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
