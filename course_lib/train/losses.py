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
    """A sum of losses over targets, and the number of targets.

    With both, the mean over several batches can be taken over all their targets.

    Attributes:
        total: The sum of the losses.
        n_targets: The number of targets.
        metrics: Other numbers that tell how the training goes, by name: means over the batch, on its device.
            `train` logs their mean over the batches of each step, in which each batch counts alike. None for none.
    """

    total: Float[Tensor, ""]
    n_targets: Tensor | int
    metrics: dict[str, Float[Tensor, ""]] | None = None

    @property
    def mean(self) -> Float[Tensor, ""]:
        """The loss per target, in nats; 0 if there is no target."""
        return self.total / torch.as_tensor(self.n_targets).clamp(min=1)


def cross_entropy(logits: Float[Tensor, "*batch classes"], targets: Int[Tensor, "*batch"]) -> Loss:
    """Compute -log p(target) under softmax(logits), in nats; targets of -100 do not count."""
    # The total is F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum"), in less memory.
    return Loss(cross_entropy_sum(logits.flatten(0, -2), targets.flatten()), (targets != IGNORE_INDEX).sum())


def next_token_loss(model: nn.Module, windows: Int[Tensor, "batch length_plus_1"]) -> Loss:
    """Compute the cross-entropy of each token given the tokens before it."""
    return cross_entropy(model(windows[:, :-1]), windows[:, 1:])


def mask_tokens(
    ids: Int[Tensor, "batch tokens"],
    generator: torch.Generator,
    mask_id: int,
    vocab_size: int,
    special: Iterable[int] = (),
    rate: float = 0.15,
) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]:
    """Mask random tokens for masked language modelling, which predicts them from the others.

    Of the chosen tokens, 80 % become `mask_id`, 10 % become a random token, and 10 % stay. So the model cannot trust
    the unmasked tokens either.

    Args:
        ids: Token ids of the texts.
        generator: Random generator on the device of `ids`.
        mask_id: The id of the mask token.
        vocab_size: Random tokens are drawn from the ids below it.
        special: Ids that are never chosen, such as padding.
        rate: The probability that a token is chosen.

    Returns:
        (inputs, targets): the ids that the model reads; and the original ids of the chosen tokens, -100 for all others.

    Raises:
        ValueError: If the rate is not between 0 and 1, or mask_id is outside the vocabulary.

    Source: Devlin et al. 2018, section 3.1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate} must be a share, from 0 to 1")
    if not 0 <= mask_id < vocab_size:
        raise ValueError(f"mask_id={mask_id} is outside the vocabulary of {vocab_size}")
    special_ids = torch.tensor(list(special), dtype=ids.dtype, device=ids.device)
    # One random number decides for each token: below `rate` it is chosen, and how far below says what it becomes.
    draw = torch.rand(ids.shape, generator=generator, device=ids.device)
    random = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    chosen = (draw < rate) & ~torch.isin(ids, special_ids)
    changed = torch.where(draw < 0.8 * rate, mask_id, torch.where(draw < 0.9 * rate, random, ids))
    return torch.where(chosen, changed, ids), torch.where(chosen, ids, IGNORE_INDEX)


def masked_token_loss(model: nn.Module, batch: tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]) -> Loss:
    """Compute the cross-entropy of the chosen tokens of a batch from `mask_tokens`."""
    inputs, targets = batch
    return cross_entropy(model(inputs), targets)


def caption_loss(
    model: nn.Module,
    batch: tuple[
        Int[Tensor, "batch tokens"],
        Int[Tensor, "batch tokens"],
        Float[Tensor, "images channels height width"] | None,
    ],
) -> Loss:
    """Compute the cross-entropy of the completions in texts with images.

    Args:
        model: Any model that maps ids and images to logits, such as VLM.
        batch: Inputs and targets as in `course_lib.tune.completions.TokenBatch`, and the images.

    Source: Liu et al. 2023, equation 3.
    """
    ids, targets, images = batch
    return cross_entropy(model(ids, images), targets)


def contrastive_loss(
    model: nn.Module, batch: tuple[Float[Tensor, "pairs channels height width"], Int[Tensor, "pairs tokens"]]
) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy, in nats, of matching each image to its text in the batch, and the reverse.

    This is a mean and not a `Loss`: each image is compared with all texts of its batch, so a batch counts as a whole,
    and pairs of different batches have no common sum.

    Args:
        model: Any model that gives logits "images texts", such as CLIP.
        batch: Images and their texts in the same order, all different: the same text twice would count as wrong.

    Source: Radford et al. 2021, figure 3.
    """
    logits = model(*batch)  # (images, texts)
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
