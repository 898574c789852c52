"""The trial in `results/rates/` of a lab whose rates were chosen by the kept runs of a recipe."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from site_project import ROOT

from course_lib.files import read_json
from course_lib.recipes.rates import best_rate, mean_losses
from course_lib.site import rates

Tried = Mapping[Any, Sequence[float]]  # the rates of each arm


def assert_trial_is_that_of_the_runs(
    lab: str,
    runs: Sequence[Mapping[str, float]],
    comparisons: Mapping[str, Tried],
    key: Callable[[Any, float], str],
    name: Callable[[Any], str] = str,
) -> None:
    """Fail unless the file has each loss of the runs and the rate with the lowest mean, which is bracketed.

    Args:
        lab: The lab.
        runs: The numbers of each kept run, by key.
        comparisons: The rates that were tried with each arm.
        key: Makes the key of a loss from an arm and a rate.
        name: What an arm is called in the file.
    """
    trial = read_json(ROOT / "results" / "rates" / f"{lab}.json")
    wanted = {
        comparison: {
            name(arm): {
                "losses": {f"{rate:g}": [run[key(arm, rate)] for run in runs] for rate in tried[arm]},
                "chosen": best_rate(losses),
            }
            for arm, losses in mean_losses(runs, tried, key).items()
        }
        for comparison, tried in comparisons.items()
    }
    assert {comparison: of["arms"] for comparison, of in trial["comparisons"].items()} == wanted
    assert not list(rates.complaints(trial, range(10)))
