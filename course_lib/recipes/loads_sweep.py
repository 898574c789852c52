"""How uneven a mixture's load becomes if nobody balances it, on more seeds than the lab on experts is replicated on.

    course train loads --preset cpu --seed 200     # about 3 CPU-minutes

The mixtures learn the facts of `labs/ch10_moe`, as there: from each seed one that nobody balances, and one with the
load-balancing loss. The busiest expert's load over the even one varies a good deal from seed to seed if nobody
balances, and now and then it stays even all by itself. Ten seeds need not have such a one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from course_lib.recipes.experts_sweep import COMPARISONS, FACTS, N_EXPERTS, learn, world_of
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run

SEED = 200  # of the committed run, which trains from this seed and the next ones; no replication has them
ARMS = {"nobody": "mixture", "loss": "with the loss"}  # who balances, and the arm of the lab's comparison
RATE = 0.03  # of both arms: see results/rates/ch10_moe.json
BATCH = 512  # tokens among which the load is counted, as in the lab


class LoadsPlan(NamedTuple):
    """The number of seeds in a run."""

    seeds: int


PRESETS = {"cpu": LoadsPlan(30)}


def loads(run: Run) -> Results:
    """Train both mixtures from each seed, and return the load of their busiest experts; no model is kept.

    The results say for each arm the least and the largest load and the mean, and on how many seeds the mixture that
    nobody balances stays within the loads that the other one has.
    """
    plan = run.choose(PRESETS)
    values = run.measured_so_far((plan, ARMS, RATE))
    torch.set_flush_denormal(True)  # as in the lab
    seeds = range(run.seed, run.seed + plan.seeds)
    keys = {(arm, seed): f"loads.{arm}.seed-{seed}" for seed in seeds for arm in ARMS}
    run.measure_each(values, {key: task for task, key in keys.items()}, lambda task: busiest(*task, run.steps))
    found = {arm: [values[keys[arm, seed]] for seed in seeds] for arm in ARMS}
    for arm, of_seeds in found.items():
        values |= {
            f"loads.{arm}.least": min(of_seeds),
            f"loads.{arm}.most": max(of_seeds),
            f"loads.{arm}.mean": sum(of_seeds) / len(of_seeds),
        }
    values["loads.seeds"] = plan.seeds
    values["loads.even"] = sum(load <= values["loads.loss.most"] for load in found["nobody"])
    return write_results(
        run, values, {f"loads.nobody.{name}": f"loads.loss.{name}" for name in ("least", "most", "mean")}
    )


def busiest(arm: str, seed: int, steps: int | None = None) -> float:
    """Train a mixture, and return the load of its busiest expert over the even load.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    of = COMPARISONS["facts"]
    if steps:
        of = of._replace(steps=steps)
    model, texts = learn(of.arms[ARMS[arm]], of, RATE, seed), world_of(FACTS, seed).texts
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
    found = []
    with torch.no_grad():
        for rows in order.split(BATCH):
            model(texts[rows])
            found.append(N_EXPERTS * model.layer.loads.max().item())
    return sum(found) / len(found)
