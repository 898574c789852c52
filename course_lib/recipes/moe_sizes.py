"""Mixtures of experts of several sizes: how fast each is, and what some learn in the time that the dense model takes.

    course train moe-sizes --preset cpu     # about 45 CPU-minutes

Text, model and batches are those of `course train moe`. All arms have the same active parameters, routers aside. First
their speed is measured, in turns: the CPU time of a training step. Some of them then learn from the same seeds. The
dense model makes `plan.steps` steps, and a mixture as many as fit into the same time, with a schedule planned for them.
Each has its own learning rate, chosen by runs of the same length on another seed and on the validation text. (Runs a
third as long chose too high a rate for the dense model, and made the mixtures look better than they are.) The steps
follow from what a clock said, so another run of this recipe gives slightly other numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import torch

from course_lib.data.corpora.pretraining import Corpus, pretraining_corpus
from course_lib.data.loading.loader import Loader, Windows
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import dense_equivalent
from course_lib.nn.moe import update_selection_biases
from course_lib.recipes import language
from course_lib.recipes.rates import rate_text, search_rate
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, seeds_of
from course_lib.settings import not_supported
from course_lib.train import next_token_loss, train
from course_lib.train.mixture import moe_loss

DENSE = "dense"
Balance = Literal["none", "loss", "bias"]  # what balances the load: nothing, `moe_loss`, or `update_selection_biases`
SEEDS = 2  # that each arm learns from: 0 and 1, or 2 and 3 in a run of seed 1
RATES_SEED = 100  # of the runs that choose the learning rates


class MoeArm(NamedTuple):
    """A model: what differs from the dense one, and what balances the load of its experts.

    Attributes:
        settings: Settings of GPTConfig; none for the dense model.
    """

    settings: dict[str, Any]
    balance: Balance = "none"


def experts(n: int, d_ff: int, top_k: int, shared: int = 0, **more: Any) -> dict[str, Any]:
    """Return the settings of a mixture; the weights of several chosen experts add up to 1."""
    return {"n_experts": n, "d_ff": d_ff, "top_k": top_k, "d_shared": shared, "norm_topk_prob": top_k > 1, **more}


BY_BIAS = {"balanced_by_bias": True}
ARMS = {
    DENSE: MoeArm({}),
    # As in `course train moe`: a gate on the shared expert, and weights that do not add up to 1.
    "recipe": MoeArm(experts(16, 64, 2, 128, norm_topk_prob=False, shared_gate=True), "loss"),
    "8-of-128-top-2": MoeArm(experts(8, 128, 2), "loss"),
    "8-of-128-shared": MoeArm(experts(8, 128, 1, 128), "loss"),
    "32-of-128-shared": MoeArm(experts(32, 128, 1, 128), "loss"),
    "4-of-256": MoeArm(experts(4, 256, 1), "loss"),
    "8-of-256": MoeArm(experts(8, 256, 1), "loss"),
    "8-of-256-bias": MoeArm(experts(8, 256, 1, **BY_BIAS), "bias"),
    "8-of-256-unbalanced": MoeArm(experts(8, 256, 1), "none"),
    "16-of-256": MoeArm(experts(16, 256, 1), "loss"),
}
# The arms that are trained to the end.
TRAINED = (DENSE, "recipe", "4-of-256", "8-of-256", "8-of-256-bias", "8-of-128-shared")


class MoeSizesPlan(NamedTuple):
    """The sizes of a run.

    Attributes:
        steps: The number of steps of the dense model.
        rates: The rates that every arm is tried at, to begin with.
        rounds: How often the speed of each arm is measured.
        timed: The steps of each of these times.
    """

    steps: int
    rates: tuple[float, ...]
    rounds: int
    timed: int


PRESETS = {"cpu": MoeSizesPlan(1200, (3e-3, 6e-3, 12e-3), 5, 5)}


def config_of(arm: str, size: str = "cpu") -> GPTConfig:
    """Return the configuration of an arm."""
    return replace(dense_equivalent(language.PRESETS["moe"][size].model), **ARMS[arm].settings)


def learn(arm: str, steps: int, rate: float, seed: int, text: Corpus, run: Run) -> tuple[GPT, float]:
    """Train an arm, and return the model and the CPU time of its training in seconds.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    base, balance = language.PRESETS["moe"][run.preset], ARMS[arm].balance
    if balance not in get_args(Balance):
        raise not_supported("balance", balance, get_args(Balance))
    torch.manual_seed(seed)
    model = GPT(config_of(arm, run.preset)).to(run.device)
    data = Loader(Windows(text.train.to(run.device), model.config.context), base.batch, seed=seed)
    config = replace(base.train, steps=steps, lr=rate, seed=seed, warmup_steps=min(base.train.warmup_steps, steps))
    history = train(
        model,
        data,
        moe_loss if balance == "loss" else next_token_loss,
        config,
        label=f"{arm} {rate:g}",
        after_step=(lambda step, metrics: update_selection_biases(model)) if balance == "bias" else None,
    )
    return model.eval(), history.cpu_seconds


def number_key(arm: str, what: str) -> str:
    """Return the key of a result, such as "moe-sizes.8-of-256.bits-per-byte"."""
    return f"moe-sizes.{arm}.{what}"


def measure_speeds(plan: MoeSizesPlan, text: Corpus, run: Run) -> dict[str, float]:
    """Time the training steps of all arms in turns, so that whatever slows the machine down slows all of them.

    Returns:
        The tokens per CPU second of each arm, and its speed as a multiple of the dense model's in the same round; both
        are medians.
    """
    base = language.PRESETS["moe"][run.preset]
    tokens = plan.timed * base.batch * base.model.context
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(plan.rounds):
        for arm, times in seconds.items():
            times.append(learn(arm, plan.timed, 1e-3, RATES_SEED, text, run)[1])
    values = {}
    for arm, times in seconds.items():
        ratios = [dense / own for own, dense in zip(times, seconds[DENSE], strict=True)]
        values[number_key(arm, "tokens-per-second")] = tokens / statistics.median(times)
        values[number_key(arm, "speed")] = statistics.median(ratios)
    return values


def loss_at(arm: str, rate: float, steps: int, text: Corpus, run: Run) -> float:
    """Train one model for the choice of the rates, and return its bits per byte on half of the validation text."""
    model, _ = learn(arm, steps, rate, RATES_SEED + run.seed, text, run)
    half = text.validation[: len(text.validation) // 2]
    return language.bits_per_byte(model, text, half, model.config.context)


def best_rate(arm: str, steps: int, plan: MoeSizesPlan, text: Corpus, run: Run, values: dict[str, float]) -> float:
    """Return the learning rate with the fewest bits per byte from one seed."""

    def key(rate: float, _: int) -> str:
        return number_key(arm, f"at-{rate_text(rate)}")

    def loss(task: tuple[float, int]) -> float:
        return loss_at(arm, task[0], steps, text, run)

    return search_rate(run, values, plan.rates, [RATES_SEED + run.seed], key, loss).chosen


def add_means(values: dict[str, float], seeds: Sequence[int]) -> None:
    """Add the mean of each trained arm over the seeds, and how many bits per byte it is behind the dense model."""
    for arm in TRAINED:
        for what, of in (("bits-per-byte", "seed"), ("seconds", "seconds")):
            measured = [values[number_key(arm, f"{of}-{seed}")] for seed in seeds]
            values[number_key(arm, what)] = statistics.mean(measured)
        behind = values[number_key(arm, "bits-per-byte")] - values[number_key(DENSE, "bits-per-byte")]
        values[number_key(arm, "behind")] = behind


def moe_sizes(run: Run) -> Results:
    """Measure the speed of all arms, and train those in TRAINED for as long as the dense model takes; keep no model.

    The results give each trained arm its mean bits per byte on the test text, those of each seed, and the CPU time
    that its training took.
    """
    plan = run.choose(PRESETS)
    plan = plan._replace(steps=run.steps or plan.steps)
    # Without the seeds: no number depends on those of another seed, so a run may go on with more of them.
    values = run.measured_so_far((plan, ARMS))
    base = language.PRESETS["moe"][run.preset]
    text = pretraining_corpus(base.model.vocab_size, base.languages)
    if not values:
        values |= measure_speeds(plan, text, run)
        run.keep(values)
    for arm in TRAINED:
        steps = max(1, round(values[number_key(arm, "speed")] * plan.steps))
        values[number_key(arm, "steps")] = steps
        values[number_key(arm, "rate")] = best_rate(arm, steps, plan, text, run, values)
    seeds = seeds_of(run.seed, SEEDS)
    for seed in seeds:
        for arm in TRAINED:
            if (key := number_key(arm, f"seed-{seed}")) in values:
                continue
            steps, rate = int(values[number_key(arm, "steps")]), values[number_key(arm, "rate")]
            model, values[number_key(arm, f"seconds-{seed}")] = learn(arm, steps, rate, seed, text, run)
            values[key] = language.bits_per_byte(model, text, text.test, model.config.context)
            run.keep(values)
    add_means(values, seeds)
    controls = {
        number_key(arm, what): number_key(DENSE, what)
        for arm in TRAINED
        for what in ("bits-per-byte", "seconds")
        if arm != DENSE
    }
    return write_results(run, values, controls)
