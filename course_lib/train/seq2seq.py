"""Losses of an encoder-decoder, and span corruption, which makes sources and targets of plain text."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.models.t5 import shift_right
from course_lib.train.losses import Loss, cross_entropy


def seq2seq_loss(
    model: nn.Module,
    batch: tuple[Int[Tensor, "batch source"], Int[Tensor, "batch target"]],
    start_id: int = 0,
    pad_id: int | None = None,
) -> Loss:
    """Cross-entropy of each token of the target, given the source and the tokens before it; -100 does not count.

    Args:
        model: an encoder-decoder, such as T5.
        batch: (source, target).
        start_id: what the decoder reads first.
        pad_id: the padding of short sources, which is masked; None if there is none.

    Source: Raffel et al. 2020, section 3.1.2.
    """
    source, targets = batch
    logits = model(source, shift_right(targets, start_id), None if pad_id is None else source != pad_id)
    return cross_entropy(logits, targets)


def span_corruption(
    ids: Int[Tensor, "batch tokens"],
    generator: torch.Generator,
    sentinels: Sequence[int],
    rate: float = 0.15,
    mean_length: float = 3.0,
) -> tuple[Int[Tensor, "batch source"], Int[Tensor, "batch target"]]:
    """Cut spans out of each text, as the target that a model writes after it has read the rest.

    In the inputs each span is one sentinel; in the targets each sentinel is followed by its span, and one more sentinel
    ends them. Of n tokens round(rate n) are missing, in round(that / mean_length) spans, at least one token in one
    span, so all rows come out equally long. All ways to cut the missing tokens into spans, and to place these without
    two that touch, are equally likely.

    Args:
        ids: the texts.
        generator: on the device of `ids`.
        sentinels: token ids that no text holds, used in their order.
        rate: the share of tokens that goes missing.
        mean_length: of a span, in tokens.

    Returns:
        (inputs, targets).

    Raises:
        ValueError: for texts of fewer than two tokens, a rate that leaves nothing, a mean_length below 1, spans that
            have to touch, too few sentinels, or a text that holds one.

    Source: Raffel et al. 2020, section 3.1.4 and figure 2; spans, section 3.3.4.
    """
    n_missing, n_spans = _span_counts(ids.shape[1], rate, mean_length)
    if len(sentinels) <= n_spans:
        raise ValueError(f"{n_spans} spans and the end take {n_spans + 1} sentinels, but there are {len(sentinels)}")
    marks = torch.tensor(sentinels, dtype=ids.dtype, device=ids.device)
    if torch.isin(ids, marks).any():
        raise ValueError("a text holds a sentinel, and could not be told from a gap; use ids that no text holds")

    # Spans are told apart by how many tokens are kept before each, and by how many are missing until it ends.
    kept = _sample_sorted(n_spans, ids.shape[1] - n_missing + 1, ids, generator)
    ends = F.pad(1 + _sample_sorted(n_spans - 1, n_missing - 1, ids, generator), (0, 1), value=n_missing)
    begins = F.pad(ends[:, :-1], (1, 0))
    none = F.pad(torch.zeros_like(ids), (0, 1))  # with a place behind the text, where its last span may end
    first = none.scatter(1, kept + begins, 1)[:, :-1]
    missing = (first - none.scatter(1, kept + ends, 1)[:, :-1]).cumsum(1).bool()

    mark = marks[(first.cumsum(1) - 1).clamp(min=0)]
    first = first.bool()
    inputs = torch.where(first, mark, ids)[first | ~missing].view(len(ids), -1)
    targets = torch.stack((mark, ids), dim=-1)[torch.stack((first, missing), dim=-1)].view(len(ids), -1)
    return inputs, torch.cat((targets, marks[n_spans].expand(len(ids), 1)), dim=1)


def _span_counts(n: int, rate: float, mean_length: float) -> tuple[int, int]:
    """Missing tokens, and spans, in a text of n tokens."""
    if n < 2 or not 0 < rate < 1 or mean_length < 1:
        raise ValueError(
            f"nothing can go missing from {n} tokens at rate={rate} in spans of mean_length={mean_length}; use two "
            "tokens or more, a rate between 0 and 1, and a mean_length of 1 or more"
        )
    n_missing = min(max(round(rate * n), 1), n - 1)
    n_spans = max(round(n_missing / mean_length), 1)
    if n_spans > n - n_missing + 1:
        raise ValueError(
            f"{n_missing} of {n} tokens cannot go missing in {n_spans} spans without two that touch; "
            "lower the rate or raise the mean_length"
        )
    return n_missing, n_spans


def _sample_sorted(k: int, n: int, like: Tensor, generator: torch.Generator) -> Int[Tensor, "batch k"]:
    """k different numbers below n in rising order, for each row."""
    draw = torch.rand(len(like), n, generator=generator, device=like.device)
    return draw.topk(k, dim=1).indices.sort(dim=1).values
