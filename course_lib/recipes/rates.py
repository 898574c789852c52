"""The learning rates of a sweep: those to try, their names in the keys of its results, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Protocol, TypeVar, runtime_checkable

from course_lib.files import read_json, write_json
from course_lib.recipes.results import Results
from course_lib.recipes.run import Run

Arm = TypeVar("Arm")
Seed = TypeVar("Seed")
GROWTHS = 6  # times that a grid grows where the best rate is at its end
RATES_FILE = "rates.json"  # in the folder of a run that tried learning rates


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


@dataclass(frozen=True)
class RateTrial:
    """The trial by which an arm's learning rate was chosen.

    Attributes:
        losses: At each rate, in order, the loss from each seed.
        told: Likewise another measure, which chooses nothing.
    """

    losses: dict[float, list[float]]
    told: dict[float, list[float]] = field(default_factory=dict)

    @property
    def chosen(self) -> float:
        """The rate with the lowest mean loss."""
        return best_rate({rate: mean(losses) for rate, losses in self.losses.items()})


def search_rate(
    run: Run,
    values: dict[str, float],
    rates: Iterable[float],
    seeds: Sequence[Seed],
    key: Callable[[float, Seed], str],
    loss: Callable[[tuple[float, Seed]], float],
) -> RateTrial:
    """Measure a loss at the rates of a grid, which is doubled or halved while the best is at an end, at most 6 times.

    Args:
        run: The run that keeps the losses.
        values: Its numbers so far; the losses are added, and those that are there are not measured again.
        rates: The grid to begin with.
        seeds: The seeds that each rate is tried from; the best rate has the lowest mean.
        key: Makes the key of a loss from a rate and a seed.
        loss: Trains a model at a rate from a seed, and returns its loss.
    """
    tried = sorted(rates)
    for growth in range(1 + GROWTHS):
        keys = {rate: [key(rate, seed) for seed in seeds] for rate in tried}
        tasks = {name: (rate, seed) for rate in tried for name, seed in zip(keys[rate], seeds, strict=True)}
        run.measure_each(values, tasks, loss)
        trial = RateTrial({rate: [values[name] for name in keys[rate]] for rate in tried})
        if growth == GROWTHS or tried[0] < trial.chosen < tried[-1]:
            break
        tried = [tried[0] / 2, *tried] if trial.chosen == tried[0] else [*tried, tried[-1] * 2]
    return trial


def write_rates(
    run: Run,
    results: Results,
    lab: str,
    seeds: Sequence[int],
    measure: str,
    steps: Mapping[str, int | Mapping[str, int]],
    trials: Mapping[str, Mapping[str, RateTrial]],
) -> Path:
    """Write rates.json into the folder of a run, which `course results add` copies to `results/rates/<lab>.json`.

    Args:
        run: The run that made the trials.
        results: Its results, for their provenance.
        lab: The lab whose models were tried.
        seeds: The seeds that each model was trained from.
        measure: What the loss is, in words, with its unit.
        steps: The training steps of the models of each comparison; by arm where they differ.
        trials: The trial of each arm, by comparison.
    """
    made = results.provenance
    provenance = {
        "lab": lab, "command": made.command, "commit": made.commit, "preset": made.preset, "device": made.device,
        "versions": made.versions, "seeds": list(seeds),
    }  # fmt: skip
    comparisons = {
        name: {
            "steps": steps[name],
            "arms": {
                arm: {"losses": _by_rate(trial.losses), "chosen": trial.chosen}
                | ({"told": _by_rate(trial.told)} if trial.told else {})
                for arm, trial in arms.items()
            },
        }
        for name, arms in trials.items()
    }
    content = {"provenance": provenance, "measure": measure, "comparisons": comparisons}
    file = run.out / RATES_FILE
    write_json(file, content)
    return file


def _by_rate(numbers: Mapping[float, list[float]]) -> dict[str, list[float]]:
    return {f"{rate:g}": of_seeds for rate, of_seeds in numbers.items()}


def keep_rates(file: Path, root: Path) -> Path:
    """Copy the trial in a run's folder to `results/rates/<lab>.json` of a checkout, and return the path.

    An arm keeps the rate that it has there unless another has a lower loss from each seed.
    """
    made = read_json(file)
    place = root / "results" / "rates" / f"{made['provenance']['lab']}.json"
    before = read_json(place)["comparisons"] if place.is_file() else {}
    for name, comparison in made["comparisons"].items():
        for arm, tried in comparison["arms"].items():
            had = before.get(name, {}).get("arms", {}).get(arm, {}).get("chosen", tried["chosen"])
            old, new = (tried["losses"].get(f"{rate:g}") for rate in (had, tried["chosen"]))
            if had != tried["chosen"] and old and any(a >= b for a, b in zip(new, old, strict=True)):
                tried |= {"chosen": had, "why": f"{tried['chosen']:g} is not better from each seed"}
    write_json(place, made)
    return place
