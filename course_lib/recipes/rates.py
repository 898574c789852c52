"""The learning rates of a sweep: their names in the keys of its results, and the best of those tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def rate_text(rate: float, digits: int = 3) -> str:
    """Write a learning rate for a key, in thousandths as in "4e-3", or with digits=4 in ten-thousandths: "25e-4"."""
    return f"{10**digits * rate:g}e-{digits}"


def best_rate(losses: Mapping[float, float]) -> float:
    """Return the learning rate with the lowest loss."""
    return min(losses, key=losses.__getitem__)


def mean_over_runs(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each number of several runs, by key: its mean over those that have it."""
    keys = dict.fromkeys(key for run in runs for key in run)
    found = {key: [run[key] for run in runs if key in run] for key in keys}
    return {key: sum(numbers) / len(numbers) for key, numbers in found.items()}
