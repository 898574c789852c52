"""A sweep of sizes and learning rates on repeated blocks: when does each model learn to copy, given longer?

    course train copying --preset cpu     # about 30 CPU-minutes

The task is `RepeatedBlocks`, and the models are those of the lab on emergence, as is their training: Muon at a constant
rate. Each run notes its accuracy in the second copy every 25 steps, so it gives the accuracy at any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.worlds.induction import InductionBatch, RepeatedBlocks
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import LLAMA_STYLE
from course_lib.nn.storage import device_of
from course_lib.recipes.cores import on_all_cores
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import RecipeError, Run, seeds_of
from course_lib.train import TrainConfig, train

EVERY = 25  # steps from one look at the accuracy to the next
HALF = 0.5  # the accuracy from which a model counts as having learned to copy
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SEEDS = 3  # of a run of the recipe
KEPT = 40  # the seed of the committed run, whose seeds no lab and no replication has


class Size(NamedTuple):
    """The size of a model."""

    n_layers: int
    width: int


class CopyingPlan(NamedTuple):
    """The task, the models, and how long they learn.

    Attributes:
        world: The task.
        sizes: The models.
        looks: The steps at which the accuracy is reported, in order; the last ends the training.
        batch: The number of rows of a step.
    """

    world: RepeatedBlocks
    sizes: tuple[Size, ...]
    looks: tuple[int, ...]
    batch: int = 32


PRESETS = {
    "cpu": CopyingPlan(RepeatedBlocks(), (Size(2, 16), Size(2, 32), Size(2, 64), Size(1, 64)), (350, 600, 1200, 1800)),
    "gpu": CopyingPlan(
        RepeatedBlocks(n_symbols=256, length=256, min_period=40, max_period=120),
        (Size(2, 32), Size(2, 64), Size(2, 128), Size(1, 128)),
        (1150, 2000, 4000, 6000),
    ),
}


def copying_model(size: Size, world: RepeatedBlocks, seed: int) -> GPT:
    """Return an untrained model, with the parts of recent ones."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"d_model": size.width, "d_ff": size.width, "n_layers": size.n_layers, "n_heads": 2}
    return GPT(GPTConfig(world.n_symbols, context=world.length, **shape, **LLAMA_STYLE))


@torch.no_grad()
def accuracy(model: nn.Module, test: InductionBatch) -> float:
    """Return the share of right tokens in the second copy, of those that can be known."""
    right = model(test.tokens[:, :-1].to(device_of(model))).argmax(-1).cpu() == test.tokens[:, 1:]
    return right[test.known[:, 1:]].float().mean().item()


def learn(size: Size, rate: float, seed: int, plan: CopyingPlan, device: torch.device) -> list[float]:
    """Train a model and return its accuracy on new rows after every 25 steps."""
    world, noted = plan.world, []
    model = copying_model(size, world, seed).to(device)
    test = world.sample(100, torch.Generator().manual_seed(seed + 10**6))

    def rows(generator: torch.Generator) -> Tensor:
        return world.sample(plan.batch, generator).tokens.to(device)

    # Not `next_token_loss`: its gradient differs in the last bits, and the committed runs would not come out again.
    def loss(model: nn.Module, rows: Tensor) -> Tensor:
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    def look(step: int, metrics: Mapping[str, float]) -> None:
        if step % EVERY == 0:
            noted.append(accuracy(model, test))

    config = TrainConfig(plan.looks[-1], lr=rate, optimizer="muon", schedule="constant", seed=seed)
    train(model, rows, loss, config, label=f"{size.n_layers} x {size.width}", after_step=look)
    return noted


def number_key(size: Size, rate: float, what: str, seed: int | None = None) -> str:
    """Return the key of a result, such as "copying.2x16.3e-03.at-600", the mean over the seeds, or that of a seed."""
    return f"copying.{size.n_layers}x{size.width}.{rate:.0e}.{what}" + ("" if seed is None else f".seed-{seed}")


def summary(curve: Sequence[float], looks: Sequence[int]) -> dict[str, float]:
    """Return the accuracies at some steps, and the first step above one half (or else the last of all)."""
    passed = [EVERY * (i + 1) for i, value in enumerate(curve) if value > HALF]
    return {**{f"at-{step}": curve[step // EVERY - 1] for step in looks}, "half": passed[0] if passed else looks[-1]}


def _task(task: tuple[Size, float, int], plan: CopyingPlan, device: torch.device) -> list[float]:
    torch.set_flush_denormal(True)  # a CPU is very slow with weights such as 1e-40
    return learn(*task, plan, device)


def copying(run: Run) -> Results:
    """Train every size at every rate from three seeds; the run's seed 1 has the next three, and so on.

    The results have, for each size and rate, the accuracy at each look and the first step above one half:
    for each seed, and the mean. No model is kept.
    """
    plan = run.choose(PRESETS)
    if run.steps:
        if run.steps % EVERY:
            raise RecipeError(f"copying measures every {EVERY} steps; give --steps a multiple of that, not {run.steps}")
        plan = plan._replace(looks=(run.steps,))
    values = run.measured_so_far(plan)
    seeds = seeds_of(run.seed, SEEDS)
    tasks = [(size, rate, seed) for seed in seeds for size in plan.sizes for rate in RATES]
    todo = [task for task in tasks if number_key(task[0], task[1], "half", task[2]) not in values]
    n_processes = None if run.device.type == "cpu" else 1
    with on_all_cores(partial(_task, plan=plan, device=run.device), todo, n_processes) as found:
        for (size, rate, seed), curve in zip(todo, tqdm(found, "models", len(todo)), strict=True):
            values |= {number_key(size, rate, what, seed): value for what, value in summary(curve, plan.looks).items()}
            run.keep(values)
    for size, rate, _ in tasks[: len(plan.sizes) * len(RATES)]:
        for what in (*(f"at-{step}" for step in plan.looks), "half"):
            of_seeds = [values[number_key(size, rate, what, seed)] for seed in seeds]
            values[number_key(size, rate, what)] = sum(of_seeds) / len(of_seeds)
    controls = {
        number_key(plan.sizes[-2], rate, f"at-{step}"): number_key(plan.sizes[-1], rate, f"at-{step}")
        for rate in RATES
        for step in plan.looks
    }
    return write_results(run, values, controls)
