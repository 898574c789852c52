"""Small statistics that the labs share: intervals and entropies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The confidence interval of a proportion, right also near 0 and 1, where mean +- 2 standard errors is not.

    Args:
        successes: How many of the trials succeeded.
        trials: How many there were.
        confidence: How often such an interval holds the true proportion.

    Returns:
        Its lower and upper end.

    Raises:
        ValueError: There are no trials, or more successes than trials.

    Source: Wilson 1927.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes out of {trials} trials are not a proportion")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, z2 = successes / trials, z * z / trials
    middle = share + z2 / 2
    half = z / math.sqrt(trials) * math.sqrt(share * (1 - share) + z2 / 4)
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def bootstrap(
    values: Float[Tensor, " n"] | Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The confidence interval of a mean by the percentile bootstrap: means of samples drawn again from the values.

    Args:
        values: The sample.
        confidence: How often such an interval holds the true mean.
        resamples: How many samples to draw.
        seed: Of the draws.

    Returns:
        Its lower and upper end.

    Raises:
        ValueError: There are fewer than two values.

    Source: Efron 1979.
    """
    sample = torch.as_tensor(values, dtype=torch.float64)
    if sample.dim() != 1 or len(sample) < 2:
        raise ValueError(f"an interval needs two values or more in one row, not the shape {tuple(sample.shape)}")
    generator = torch.Generator().manual_seed(seed)
    means = sample[torch.randint(len(sample), (resamples, len(sample)), generator=generator)].mean(1)
    tail = (1 - confidence) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def entropy(probabilities: Tensor, dim: int = -1) -> Tensor:
    """The entropy of distributions, in nats; 0 log 0 counts as 0.

    Args:
        probabilities: Distributions along `dim`.
        dim: The axis that sums to 1.

    Source: Shannon 1948.
    """
    return torch.special.entr(probabilities).sum(dim)
