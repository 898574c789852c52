"""Objectives: each takes a model and a batch and gives the number to bring down."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def next_token(model: nn.Module, windows: Int[Tensor, "batch length_plus_1"]) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats a token, of each token given the ones before it; a target of -100 does not count."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def masked_tokens(
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


def masked_token(model: nn.Module, batch: tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]) -> Tensor:
    """Mean cross-entropy, in nats a chosen token, of a batch from `masked_tokens`; 0 if none was chosen."""
    inputs, targets = batch
    total = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)  # in a small batch the mean may be over none, which is NaN


def contrastive(
    model: nn.Module, batch: tuple[Float[Tensor, "pairs channels height width"], Int[Tensor, "pairs tokens"]]
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of finding each picture's text among all texts of the batch, and the reverse.

    batch: pictures and their texts in the same order, all of them different: the same text twice would count as wrong.
    model: anything that gives logits "pictures texts" for them, as CLIP. Source: Radford et al. 2021, figure 3.
    """
    logits = model(*batch)
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
