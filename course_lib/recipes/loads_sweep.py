"""How uneven a mixture's load becomes if nobody balances it, on more seeds than the lab on experts is replicated on.

    course train loads --preset cpu --seed 200     # about 6 CPU-minutes

The mixtures learn the facts of `labs/ch10_moe`, as there: from each seed one that nobody balances, and one with the
load-balancing loss. The busiest expert's load over the even one varies a good deal from seed to seed if nobody
balances, and now and then it stays even all by itself. Ten seeds need not have such a one.

How strong should the balancing be? From other seeds, mixtures are trained with a third and with three times the lab's
weight of the loss, and likewise with the step of the bias.
"""

from __future__ import annotations

from functools import lru_cache, partial
from statistics import mean
from typing import NamedTuple

import torch

from course_lib.recipes.experts_sweep import COMPARISONS, FACTS, N_EXPERTS, ExpertsModel, learn, world_of, wrong
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run

SEED = 200  # of the committed run, which trains from this seed and the next ones; no replication has them
# Who balances, and the arm of the lab's comparison.
ARMS = {"nobody": "mixture", "loss": "with the loss", "bias": "with the bias"}
COUNTED = ("nobody", "loss")  # on many seeds
RATE = 0.03  # of all arms: see results/rates/ch10_moe.json
BATCH = 512  # tokens among which the load is counted, as in the lab
STRENGTHS = {"loss": (0.03, 0.1, 0.3), "bias": (0.001, 0.003, 0.01)}  # the lab's in the middle
TRIED_ON = range(100, 104)  # seeds: the strengths are not chosen on those that are reported


class LoadsPlan(NamedTuple):
    """The number of seeds in a run."""

    seeds: int


PRESETS = {"cpu": LoadsPlan(100)}


def loads(run: Run) -> Results:
    """Train both mixtures from each seed, and return the load of their busiest experts; no model is kept.

    The results say for each arm the least and the largest load and the mean, and on how many seeds the mixture that
    nobody balances stays within the loads that the other one has. Of the strengths they say between which means the
    load lies, and the share of the facts that is known.
    """
    plan = run.choose(PRESETS)
    values = run.measured_so_far((plan, ARMS, RATE, STRENGTHS))
    torch.set_flush_denormal(True)  # as in the lab
    seeds = range(run.seed, run.seed + plan.seeds)
    keys = {(arm, seed): f"loads.{arm}.seed-{seed}" for seed in seeds for arm in COUNTED}
    run.measure_each(
        values,
        {key: task for task, key in keys.items()},
        lambda task: busiest(trained(*task, steps=run.steps), task[1]),
    )
    found = {arm: [values[keys[arm, seed]] for seed in seeds] for arm in COUNTED}
    for arm, of_seeds in found.items():
        values |= {
            f"loads.{arm}.least": min(of_seeds),
            f"loads.{arm}.most": max(of_seeds),
            f"loads.{arm}.mean": sum(of_seeds) / len(of_seeds),
        }
    values |= _strengths(run, values)
    values["loads.seeds"] = plan.seeds
    values["loads.even"] = sum(load <= values["loads.loss.most"] for load in found["nobody"])
    return write_results(
        run, values, {f"loads.nobody.{name}": f"loads.loss.{name}" for name in ("least", "most", "mean")}
    )


def _strengths(run: Run, values: dict[str, float]) -> dict[str, float]:
    """Train with each strength from each seed; return the least and the largest mean over the seeds."""
    means: dict[str, list[float]] = {"busiest": [], "known": []}
    for arm, strengths in STRENGTHS.items():
        for strength in strengths:
            of_seeds = {seed: f"loads.{arm}.strength-{strength:g}.seed-{seed}" for seed in TRIED_ON}
            tasks = {f"{key}.{what}": (what, seed) for seed, key in of_seeds.items() for what in means}

            def measure(task: tuple[str, int], arm: str = arm, strength: float = strength) -> float:
                what, seed = task
                model = trained(arm, seed, strength, run.steps)
                return busiest(model, seed) if what == "busiest" else 1 - wrong(model, world_of(FACTS, seed))

            run.measure_each(values, tasks, measure)
            for what, of_strengths in means.items():
                of_strengths.append(mean(values[f"{key}.{what}"] for key in of_seeds.values()))
    ends = {"least": min, "most": max}
    return {f"loads.strengths.{what}.{end}": pick(found) for what, found in means.items() for end, pick in ends.items()}


@lru_cache(maxsize=1)  # two things are measured of a model, one after the other
def trained(arm: str, seed: int, strength: float | None = None, steps: int | None = None) -> ExpertsModel:
    """Train a mixture.

    Args:
        arm: Who balances.
        seed: The seed of the weights and of the facts.
        strength: The weight of the loss, or the step of the bias; None for the lab's.
        steps: The number of steps, if not the lab's.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    of = COMPARISONS["facts"]
    if steps:
        of = of._replace(steps=steps)
    learn_at = partial(learn, of.arms[ARMS[arm]], of, RATE, seed)
    if strength is None:
        return learn_at()
    return learn_at(balance=strength) if arm == "loss" else learn_at(bias_step=strength)


def busiest(model: ExpertsModel, seed: int) -> float:
    """Return the load of a trained mixture's busiest expert over the even load, on the facts of its seed."""
    texts = world_of(FACTS, seed).texts
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
    found = []
    with torch.no_grad():
        for rows in order.split(BATCH):
            model(texts[rows])
            found.append(N_EXPERTS * model.layer.loads.max().item())
    return sum(found) / len(found)
