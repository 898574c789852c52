"""The loss of an encoder-decoder, and span corruption, which makes sources and targets from plain text."""

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
    """Compute the cross-entropy of each target token given the source and the target tokens before it.

    Targets of -100 do not count.

    Args:
        model: An encoder-decoder, such as T5.
        batch: (source, target) as token ids.
        start_id: The token that the decoder reads first.
        pad_id: The token that pads short sources, which is masked; None if there is none.

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
    """Cut random spans out of each text and make them the target that the model predicts from the rest.

    In the inputs one sentinel replaces each span. In the targets each sentinel is followed by its span, and one more
    sentinel ends the row. Of n tokens, round(rate n) are cut out, in round(that / mean_length) spans, with at least one
    token and one span. So all rows come out equally long. All ways to cut the missing tokens into spans, and to place
    the spans so that no two touch, are equally likely.

    Args:
        ids: Token ids of the texts.
        generator: Random generator on the device of `ids`.
        sentinels: Token ids that no text holds, used in this order.
        rate: The share of tokens to cut out.
        mean_length: The mean length of a span, in tokens.

    Returns:
        (inputs, targets).

    Raises:
        ValueError: If the texts have fewer than two tokens, the rate is not between 0 and 1, mean_length is below 1,
            two spans would have to touch, there are too few sentinels, or a text holds a sentinel.

    Source: Raffel et al. 2020, section 3.1.4 and figure 2; spans, section 3.3.4.
    """
    n_missing, n_spans = _span_counts(ids.shape[1], rate, mean_length)
    if len(sentinels) <= n_spans:
        raise ValueError(f"{n_spans} spans and the end take {n_spans + 1} sentinels, but there are {len(sentinels)}")
    marks = torch.tensor(sentinels, dtype=ids.dtype, device=ids.device)
    if torch.isin(ids, marks).any():
        raise ValueError("a text holds a sentinel, and could not be told from a gap; use ids that no text holds")

    # A span is given by the number of tokens kept before it, and the number cut out up to its start and to its end.
    kept = _sample_sorted(n_spans, ids.shape[1] - n_missing + 1, ids, generator)
    ends = F.pad(1 + _sample_sorted(n_spans - 1, n_missing - 1, ids, generator), (0, 1), value=n_missing)
    begins = F.pad(ends[:, :-1], (1, 0))
    none = F.pad(torch.zeros_like(ids), (0, 1))  # one place more than the text, where its last span may end
    first = none.scatter(1, kept + begins, 1)[:, :-1]
    missing = (first - none.scatter(1, kept + ends, 1)[:, :-1]).cumsum(1).bool()

    mark = marks[(first.cumsum(1) - 1).clamp(min=0)]
    first = first.bool()
    inputs = torch.where(first, mark, ids)[first | ~missing].view(len(ids), -1)
    targets = torch.stack((mark, ids), dim=-1)[torch.stack((first, missing), dim=-1)].view(len(ids), -1)
    return inputs, torch.cat((targets, marks[n_spans].expand(len(ids), 1)), dim=1)


def _span_counts(n: int, rate: float, mean_length: float) -> tuple[int, int]:
    """Compute the number of tokens to cut out of a text of n tokens, and the number of spans."""
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
    """Sample k different numbers from 0 to n - 1 for each row, in increasing order."""
    draw = torch.rand(len(like), n, generator=generator, device=like.device)
    return draw.topk(k, dim=1).indices.sort(dim=1).values
