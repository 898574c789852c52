"""Calibration: do stated confidences come true? Compared bin by bin, with exact intervals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Reliability:
    """What was given each confidence, and how often it came true: the points of a reliability diagram.

    Bins that are empty are left out.

    Attributes:
        count: The number of answers in each bin.
        confidence: Their mean confidence.
        right: The share that is right.
        low: The lower end of the exact interval of this share.
        high: The upper end.
    """

    count: Int[Tensor, " bins"]
    confidence: Float[Tensor, " bins"]
    right: Float[Tensor, " bins"]
    low: Float[Tensor, " bins"]
    high: Float[Tensor, " bins"]

    @property
    def error(self) -> float:
        """The expected calibration error: how far share and confidence are apart, on average over the answers.

        Source: Guo et al. 2017, equation 3.
        """
        apart = (self.right - self.confidence).abs()
        return ((self.count * apart).sum() / self.count.sum()).item()

    def share(self, side: Bool[Tensor, " bins"]) -> float:
        """Return the share of the answers that lie in some of the bins."""
        return (self.count[side].sum() / self.count.sum()).item()


def reliability(
    confidence: Float[Tensor, " answers"], right: Bool[Tensor, " answers"], n_bins: int = 10
) -> Reliability:
    """Sort answers into bins of equal width by their confidence, and compare it with the share that is right.

    Args:
        confidence: The probability that each answer was given, from 0 to 1.
        right: Whether it is right.
        n_bins: The number of bins.

    Raises:
        ValueError: If there are no answers, or a confidence is none.
    """
    if len(confidence) == 0 or not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("calibration needs at least one answer, and confidences from 0 to 1")
    place = (confidence * n_bins).long().clamp(max=n_bins - 1)
    count = place.bincount(minlength=n_bins)
    there = count > 0

    def sums(values: Tensor) -> Tensor:
        return torch.zeros(n_bins, dtype=torch.float64).index_add_(0, place, values.double())[there]

    count, n_right = count[there], sums(right)
    ends = [exact_interval(int(k), int(n)) for k, n in zip(n_right, count, strict=True)]
    low, high = torch.tensor(ends, dtype=torch.float64).T
    return Reliability(count, sums(confidence) / count, n_right / count, low, high)


def exact_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the exact confidence interval of a proportion: its ends are the last that the tails do not rule out.

    It contains the true proportion at least as often as it says, for any number of trials.

    Args:
        successes: The number of trials that succeeded.
        trials: The number of trials.
        confidence: How often such an interval contains the true proportion, or more often.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: If there are no trials, or more successes than trials.

    Source: Clopper and Pearson 1934.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes out of {trials} trials are not a proportion")
    return 1 - _upper_end(trials - successes, trials, confidence), _upper_end(successes, trials, confidence)


def _upper_end(successes: int, trials: int, confidence: float) -> float:
    """Return the proportion with which so few successes or fewer have half of the probability left out."""
    if successes == trials:
        return 1.0
    k = torch.arange(successes + 1, dtype=torch.float64)
    n = torch.tensor(trials, dtype=torch.float64)
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    low, high = successes / trials, 1.0
    for _ in range(60):
        middle = torch.tensor((low + high) / 2, dtype=torch.float64)
        tail = (ways + k * middle.log() + (n - k) * (-middle).log1p()).logsumexp(0).exp()
        low, high = (float(middle), high) if tail > (1 - confidence) / 2 else (low, float(middle))
    return low
