"""The learning rates of a sweep: those to try, their names in the keys of its results, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

Arm = TypeVar("Arm")


@runtime_checkable
class RatesByArm(Protocol):
    """The learning rates in the plan of a sweep."""

    @property
    def rates(self) -> tuple[float, ...]:
        """Those tried with every arm."""

    @property
    def more(self) -> Mapping[str, tuple[float, ...]]:
        """Further rates of an arm whose best was at an end of those."""


def rates_of(plan: RatesByArm, arm: str) -> tuple[float, ...]:
    """Return the learning rates of an arm, from the lowest to the highest."""
    return tuple(sorted((*plan.rates, *plan.more.get(arm, ()))))


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


def mean_losses(
    runs: Sequence[Mapping[str, float]], rates: Mapping[Arm, Iterable[float]], key: Callable[[Arm, float], str]
) -> dict[Arm, dict[float, float]]:
    """Return the loss of each arm at each of its learning rates, the mean over the runs that have it.

    Args:
        runs: The numbers of each run, by key.
        rates: The learning rates of each arm.
        key: Makes the key of a loss from an arm and a rate.
    """
    mean = mean_over_runs(runs)
    return {arm: {rate: mean[key(arm, rate)] for rate in tried} for arm, tried in rates.items()}
