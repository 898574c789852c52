"""Statistics that the labs share: confidence intervals and entropies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

import torch
from jaxtyping import Float
from torch import Tensor


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's confidence interval of a proportion.

    It is also right near 0 and 1, where the mean +- 2 standard errors is not.

    Args:
        successes: The number of trials that succeeded.
        trials: The number of trials.
        confidence: How often such an interval contains the true proportion.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: If there are no trials, or more successes than trials.

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
    """Compute the confidence interval of a mean by the percentile bootstrap.

    It is read off the means of samples drawn from the values with replacement.

    Args:
        values: The sample.
        confidence: How often such an interval contains the true mean.
        resamples: The number of samples to draw.
        seed: The seed of the draws.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: If there are fewer than two values.

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


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Compute Student's confidence interval of a mean, as of one number over the replications of a lab.

    Args:
        values: The sample.
        confidence: How often such an interval contains the true mean, if the values scatter as a normal distribution.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: If there are fewer than two values.

    Source: Student 1908.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs two values or more, not {len(values)}")
    middle, freedom = fmean(values), len(values) - 1
    half = _t_quantile(confidence, freedom) * stdev(values) / math.sqrt(len(values))
    return middle - half, middle + half


def _t_quantile(confidence: float, freedom: int) -> float:
    """Return the number of standard errors within which a share `confidence` of Student's distribution lies."""
    low, high = 0.0, math.pi / 2  # angles: t = sqrt(freedom) tan(angle)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _t_share(angle: float, freedom: int) -> float:
    """Return the share of Student's distribution within +- sqrt(freedom) tan(angle).

    Source: Abramowitz and Stegun 1964, equations 26.7.3 and 26.7.4.
    """
    sine, cosine, odd = math.sin(angle), math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def entropy(probabilities: Tensor, dim: int = -1) -> Tensor:
    """Compute the entropy of distributions in nats; 0 log 0 counts as 0.

    Args:
        probabilities: Distributions along `dim`.
        dim: The axis that sums to 1.

    Source: Shannon 1948.
    """
    return torch.special.entr(probabilities).sum(dim)
