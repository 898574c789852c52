"""The learning rates of the models that a lab compares: the chosen ones, and the trial that chose them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean
from typing import Any, SupportsFloat

import torch

from course_lib.errors import DataError
from course_lib.measure.committed import committed_file
from course_lib.preset import preset, rate_factor


class TunedRates(Mapping[str, float]):
    """The learning rate of each arm of a comparison, as a trial on seeds that are not reported has chosen it.

    Args:
        comparison: The name of the comparison.
        rates: The chosen rates.
    """

    def __init__(self, comparison: str, rates: Mapping[str, float]) -> None:
        self.comparison, self._rates = comparison, dict(rates)

    def __getitem__(self, arm: str) -> float:
        rate, factor = self._rates[arm], rate_factor(arm)
        return rate if factor is None else float(f"{factor * rate:.3g}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._rates)

    def __len__(self) -> int:
        return len(self._rates)

    def __repr__(self) -> str:
        return repr(dict(self))

    def tried(self, arm: str, loss: Callable[[], SupportsFloat]) -> None:
        """Tell what loss an arm has reached; it is computed in a trial of rates alone, by which they are chosen.

        Args:
            arm: The name of the arm.
            loss: Computes the loss, of data on which no result is reported.
        """
        if rate_factor(arm) is None:
            return
        with torch.no_grad():
            value = float(loss())
        trial = {
            "comparison": self.comparison,
            "arm": arm,
            "rate": self[arm],
            "loss": value if math.isfinite(value) else None,  # that of a model that diverged
        }
        text = f"{self.comparison}, {arm}: {value:.4g} at a rate of {self[arm]:g}"
        ipython = sys.modules.get("IPython")  # not imported: whoever runs under IPython has it
        if ipython is None or ipython.get_ipython() is None:
            print(text)
            return
        from IPython.display import display

        display({"text/plain": text}, raw=True, metadata={"course_trial": trial})


def tuned_rates(lab: str, comparison: str, gpu: Mapping[str, float] | None = None) -> TunedRates:
    """Return the learning rates of the models that a lab compares, by arm.

    `course rates LAB` has chosen them: `results/rates/` has the losses at all rates that were tried.

    Args:
        lab: The lab, such as "ch06_consistency".
        comparison: The name of the comparison.
        gpu: The rates in the preset `gpu`, by arm, if its sizes want others.

    Raises:
        DataError: If nobody has chosen them.
    """
    if gpu is not None and preset() == "gpu":
        return TunedRates(comparison, gpu)
    return TunedRates(comparison, {arm: tried["chosen"] for arm, tried in _arms(lab, comparison).items()})


def trial_curves(lab: str, comparison: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return a curve for each arm: the rates that were tried, and the mean loss over the trial's seeds at each of them.

    Rates at which a model diverged are left out.

    Args:
        lab: As for `tuned_rates`.
        comparison: As for `tuned_rates`.

    Raises:
        DataError: If there is no such trial.
    """
    found = {}
    for arm, tried in _arms(lab, comparison).items():
        means = {float(rate): fmean(losses) for rate, losses in tried["losses"].items() if None not in losses}
        found[arm] = (list(means), list(means.values()))
    return found


def _arms(lab: str, comparison: str) -> dict[str, Any]:
    found = json.loads(committed_file(f"rates/{lab}.json").read_text(encoding="utf-8"))["comparisons"]
    if comparison not in found:
        raise DataError(f"results/rates/{lab}.json has no {comparison!r}; there are {', '.join(found)}")
    return found[comparison]["arms"]
