"""The loss of an encoder-decoder, and span corruption, which makes sources and targets from plain text."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
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

    is_start, missing = _choose_spans(ids, n_missing, n_spans, generator)
    return _cut(ids, is_start, missing, marks[: n_spans + 1])


# The example of the paper's figure 2, as `_choose_spans` and `_cut` see it:
#
#     ids          Thank you for inviting me to your party last week .
#     is_start     0     0   1   0        0  0  0    0     1    0    0
#     missing      0     0   1   1        0  0  0    0     1    0    0
#     sentinel_at  X     X   X   X        X  X  X    X     Y    Y    Y
#
#     inputs       Thank you X me to your party Y week .
#     targets      X for inviting Y last Z


def _choose_spans(
    ids: Int[Tensor, "batch tokens"], n_missing: int, n_spans: int, generator: torch.Generator
) -> tuple[Bool[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
    """Choose the spans of each row at random.

    Returns:
        (is_start, missing): whether a span starts at a token, and whether the token is in a span.
    """
    # A span is given by the number of tokens kept before it, and the number cut out up to its start and to its end.
    kept = _sample_sorted(n_spans, ids.shape[1] - n_missing + 1, ids, generator)
    cut_to_end = F.pad(1 + _sample_sorted(n_spans - 1, n_missing - 1, ids, generator), (0, 1), value=n_missing)
    cut_to_start = F.pad(cut_to_end[:, :-1], (1, 0))
    zeros = F.pad(torch.zeros_like(ids), (0, 1))  # one place more than the text, where its last span may end
    starts, ends = (zeros.scatter(1, kept + cut, 1)[:, :-1] for cut in (cut_to_start, cut_to_end))
    return starts.bool(), (starts - ends).cumsum(1).bool()


def _cut(
    ids: Int[Tensor, "batch tokens"],
    is_start: Bool[Tensor, "batch tokens"],
    missing: Bool[Tensor, "batch tokens"],
    sentinels: Int[Tensor, " spans_plus_1"],
) -> tuple[Int[Tensor, "batch source"], Int[Tensor, "batch target"]]:
    """Cut the spans out of each row, and return (inputs, targets)."""
    n = len(ids)
    # The sentinel of the span that started last; before the first one any will do, since none is read there.
    sentinel_at = sentinels[(is_start.cumsum(1) - 1).clamp(min=0)]
    inputs = torch.where(is_start, sentinel_at, ids)[is_start | ~missing].view(n, -1)
    # Each place offers its sentinel and then its token: the one is taken at a start, the other where it is missing.
    targets = torch.stack((sentinel_at, ids), dim=-1)[torch.stack((is_start, missing), dim=-1)].view(n, -1)
    return inputs, torch.cat((targets, sentinels[-1].expand(n, 1)), dim=1)


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
