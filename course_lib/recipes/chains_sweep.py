"""The learning rates of the lab on chains of thought: each model is trained at several, and has its own best.

    course train chains --preset cpu --seed 100     # about 5 CPU-minutes; and again with --seed 101, which takes 4

The models are those of `labs/ch05_chain_of_thought`: small GPTs that differ in what they read and are told. They are
scored on chains on which the lab does not report, by the loss on the answer.

    course train told-only --preset cpu     # about 5 CPU-minutes

takes these rates and trains three of the arms, which are told more than a lab has time for, on ten seeds: those of the
lab's replications. They are scored as the lab does, by the share of answers that are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.data.worlds.arithmetic import PLUS, ArithmeticChains, ChainBatch
from course_lib.measure import committed_run, t_interval
from course_lib.models import GPT, GPTConfig
from course_lib.preset import Preset
from course_lib.recipes.rates import best_rate, mean_losses, rate_text, rates_of
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, seeds_of
from course_lib.settings import not_supported
from course_lib.train import TrainConfig, train

MODULUS, STEPS = 7, 6
WORLDS = {
    "chains": ArithmeticChains(MODULUS, STEPS),
    "plus": ArithmeticChains(MODULUS, STEPS, only_plus=True),
    "twin": ArithmeticChains(MODULUS, STEPS, any_multiplier=True),
}
SEEDS = (100, 101)  # of the runs by which the rates were chosen; no seed of the course's replications
GUESS = math.log(MODULUS)  # the loss of a guess, in nats
LEARNED = 0.01  # nats below a guess: an arm that gets no further at any rate has learned nothing, and no best rate
DEFAULT_RATE = 1e-2  # the rate of such an arm
LAB_SEEDS = 10  # of a run of `told_only`; course seed n is the lab's seed 10 n
Rows = Callable[[ChainBatch], tuple[Tensor, Tensor]]  # the inputs of a model, and the targets


class ChainsPlan(NamedTuple):
    """The sizes of a run.

    Attributes:
        model: The width and the number of layers.
        updates: The number of training steps with rows as long as those of a chain.
        batch: The number of chains in a step.
        rates: The learning rates tried with every arm.
        more: Further rates of an arm whose best was at an end of those.
    """

    model: dict[str, Any]
    updates: int
    batch: int
    rates: tuple[float, ...]
    more: Mapping[str, tuple[float, ...]]


class ChainsArm(NamedTuple):
    """What a model writes, in which world, and how it differs from the plan.

    Attributes:
        writes: What it writes before its answer, or how it is told.
        world: One of `WORLDS`.
        longer: How long it trains, as a multiple of the plan's updates.
        n_layers: The number of its layers; None for the plan's.
    """

    writes: str
    world: str = "chains"
    longer: float = 1.0
    n_layers: int | None = None

    def shape(self, plan: ChainsPlan) -> dict[str, Any]:
        """Return the width and the number of layers of its model."""
        return plan.model | ({} if self.n_layers is None else {"n_layers": self.n_layers})


# The answer alone makes rows of 8 tokens, not of 13, and its model gets more of them.
SHORT = (2 * STEPS + 1) / (STEPS + 2)
ARMS = {
    "answer alone": ChainsArm("answer alone", longer=SHORT),
    "dots": ChainsArm("dots"),
    "another's steps": ChainsArm("another's steps"),
    "told only": ChainsArm("told only", longer=2),
    "chain of thought": ChainsArm("chain of thought"),
    # A layer for each step: so many could take them all in one pass.
    "told only, six layers": ChainsArm("told only", longer=2, n_layers=STEPS),
    "chain of thought, six layers": ChainsArm("chain of thought", n_layers=STEPS),
    "answer alone, plus": ChainsArm("answer alone", "plus", SHORT),
    "told only, plus": ChainsArm("told only", "plus", longer=2),
    "chain of thought, plus": ChainsArm("chain of thought", "plus"),
    "answer alone, twin": ChainsArm("answer alone", "twin", SHORT / 2),
    "chain of thought, twin": ChainsArm("chain of thought", "twin", 1 / 2),
}
MORE = {
    "chain of thought, plus": (6e-2,),
    "chain of thought, twin": (6e-2,),
    "chain of thought, six layers": (6e-2,),
    "told only, six layers": (1e-3,),
}
ON_TEN_SEEDS = ("told only, six layers", "chain of thought, six layers", "told only, plus")
PRESETS = {
    "cpu": ChainsPlan({"d_model": 48, "n_layers": 2}, 200, 64, (3e-3, 1e-2, 3e-2), MORE),
    "gpu": ChainsPlan({"d_model": 256, "n_layers": 4}, 5000, 256, (1e-3, 3e-3, 1e-2), {}),
}


def last_put(
    start: Int[Tensor, " batch"],
    operators: Int[Tensor, "batch step"],
    operands: Int[Tensor, "batch step"],
    modulus: int = MODULUS,
) -> Int[Tensor, "batch step"]:
    """Compute the running numbers in the twin world, where `+b` leaves a number as it is and `*c` replaces it by c."""
    number, states = start, []
    for step in range(operands.shape[1]):
        number = torch.where(operators[:, step] == PLUS, number, operands[:, step])
        states.append(number)
    return torch.stack(states, dim=1)


def rows_of(writes: str, world: ArithmeticChains, chains: ChainBatch) -> tuple[Tensor, Tensor]:
    """Return the inputs of a model, and the targets of its last positions."""
    prompts, states = world.prompt(chains), chains.states
    before, answer = states[:, :-1], states[:, -1:]
    dots = torch.full_like(before, world.equals + 1)
    match writes:
        case "told only":
            return torch.cat([prompts, dots], dim=1), states
        case "answer alone":
            before = before[:, :0]
        case "dots":
            before = dots
        case "another's steps":
            before = before.roll(1, dims=0)  # those of the row above
        case "chain of thought":
            pass
        case other:
            raise not_supported("writes", other, dict.fromkeys(arm.writes for arm in ARMS.values()))
    targets = torch.cat([before, answer], dim=1)
    return torch.cat([prompts, targets], dim=1)[:, :-1], targets


def learn(arm: str, rows: Rows, rate: float, plan: ChainsPlan, seed: int, device: torch.device) -> GPT:
    """Train a small GPT on new chains in every step.

    Args:
        arm: The arm, which says the world, how long to train, and how many layers.
        rows: Makes inputs and targets from chains.
        rate: The learning rate.
        plan: The sizes of model and batch, and the number of steps.
        seed: The seed of weights and chains.
        device: The device.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    world = WORLDS[ARMS[arm].world]
    torch.manual_seed(seed)
    model = GPT(GPTConfig(world.vocab_size, context=2 * STEPS + 2, **ARMS[arm].shape(plan))).to(device)

    def loss(model: nn.Module, chains: ChainBatch) -> Tensor:
        inputs, targets = rows(chains)
        logits = model(inputs.to(device))[:, -targets.shape[1] :]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten().to(device))

    config = TrainConfig(max(1, int(plan.updates * ARMS[arm].longer)), lr=rate, optimizer="muon", seed=seed)
    train(model, lambda g: world.sample(plan.batch, g), loss, config, label=arm)
    return model.eval()


def loss_at(arm: str, rate: float, plan: ChainsPlan, run: Run) -> float:
    """Train one model and return its loss on the answers of 2,000 other chains, in nats."""
    world = WORLDS[ARMS[arm].world]

    def rows(chains: ChainBatch) -> tuple[Tensor, Tensor]:
        if world is WORLDS["twin"]:
            chains = chains._replace(states=last_put(*chains[:3]))
        return rows_of(ARMS[arm].writes, world, chains)

    model = learn(arm, rows, rate, plan, run.seed, run.device)
    inputs, targets = rows(world.sample(2000, torch.Generator().manual_seed(10**6 + run.seed)))
    with torch.no_grad():
        logits = model(inputs.to(run.device))[:, -1].cpu()
    return F.cross_entropy(logits, targets[:, -1]).item()


@torch.no_grad()
def share_right(arm: str, plan: ChainsPlan, seed: int, device: torch.device) -> float:
    """Train one model at its best rate, and return the share of right answers to 1,000 other problems.

    A model that writes its steps reads what it wrote, and one that is told only reads dots.
    """
    writes, world = ARMS[arm].writes, WORLDS[ARMS[arm].world]
    with torch.enable_grad():
        model = learn(arm, lambda chains: rows_of(writes, world, chains), best_rates()[arm], plan, seed, device)
    problems = world.sample(1000, torch.Generator().manual_seed(seed + 1))
    read = rows_of(writes, world, problems)[0] if writes == "told only" else world.prompt(problems)
    said = model(read.to(device))[:, -1].argmax(-1).cpu()
    if writes == "chain of thought":
        for _ in range(STEPS - 1):
            read = torch.cat([read, said[:, None]], dim=1)
            said = model(read.to(device))[:, -1].argmax(-1).cpu()
    return (said == problems.states[:, -1]).float().mean().item()


def _in_a_key(arm: str) -> str:
    return arm.replace(",", "").replace(" ", "-")


def number_key(arm: str, rate: float) -> str:
    """Return the key of a result of the sweep, such as "chains.sweep.told-only.10e-3"."""
    return f"chains.sweep.{_in_a_key(arm)}.{rate_text(rate)}"


def losses_by_rate(size: Preset = "cpu") -> dict[str, dict[float, float]]:
    """Return the loss of each arm at each learning rate, the mean over the committed runs that have it.

    Raises:
        DataError: If they have not been committed.
    """
    runs = [committed_run("chains", seed, size=size) for seed in SEEDS]
    return mean_losses(runs, {arm: rates_of(PRESETS[size], arm) for arm in ARMS}, number_key)


def learned(losses: Mapping[float, float]) -> bool:
    """Whether the loss got below that of a guess at some learning rate."""
    return min(losses.values()) < GUESS - LEARNED


def best_rates(size: Preset = "cpu") -> dict[str, float]:
    """Return the learning rate of each arm with the lowest loss; that in the middle if the arm learned at none.

    Raises:
        DataError: If the runs have not been committed.
    """
    return {arm: best_rate(losses) if learned(losses) else DEFAULT_RATE for arm, losses in losses_by_rate(size).items()}


def chains(run: Run) -> Results:
    """Train every arm at each of its learning rates; no model is kept.

    On the second seed, those arms are trained again that learned at some rate on the first.

    Raises:
        DataError: If the run of the first seed has not been committed, and this is another.
    """
    plan = run.choose(PRESETS)
    plan = plan._replace(updates=run.steps or plan.updates)
    arms = list(ARMS)
    if run.seed != SEEDS[0]:
        first = committed_run("chains", SEEDS[0], size=run.preset)
        arms = [arm for arm in arms if learned({rate: first[number_key(arm, rate)] for rate in rates_of(plan, arm)})]
    # Without the rates: no number depends on the others, so a run may go on with more of them.
    values = run.measured_so_far(plan[:3])
    grid = {number_key(arm, rate): (arm, rate) for arm in arms for rate in rates_of(plan, arm)}
    run.measure_each(values, grid, lambda task: loss_at(*task, plan, run))
    return write_results(run, values, {})


def told_only(run: Run) -> Results:
    """Train three arms on ten seeds, and report the mean of their right answers with its interval; keep no model.

    Raises:
        DataError: If the runs by which the rates are chosen have not been committed.
    """
    plan = run.choose(PRESETS)
    plan = plan._replace(updates=run.steps or plan.updates)
    values = run.measured_so_far((plan[:3], best_rates()))
    keys = {arm: f"chains.seeds.{_in_a_key(arm)}" for arm in ON_TEN_SEEDS}
    seeds = seeds_of(run.seed, LAB_SEEDS)
    tasks = {f"{keys[arm]}.{seed}": (arm, 10 * seed) for arm in ON_TEN_SEEDS for seed in seeds}
    run.measure_each(values, tasks, lambda task: share_right(task[0], plan, task[1], run.device))
    for key in keys.values():
        on_seeds = [values[f"{key}.{seed}"] for seed in seeds]
        values[key] = sum(on_seeds) / len(on_seeds)
        values[f"{key}.from"], values[f"{key}.to"] = t_interval(on_seeds)
    told, chain, _ = keys.values()
    return write_results(run, values, {chain: told})
