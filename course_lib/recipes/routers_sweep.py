"""Does it matter that a router learns? A mixture that reads text, beside one whose router stays as it was at random.

    course train routers --preset cpu     # about 15 CPU-minutes

The text, the mixture and its training are those of `labs/ch10_moe`. Three models learn from the same seeds and batches:
the mixture, the same one with a router that never learns, and the dense model in which a token meets as many
parameters. Each has its own learning rate, the best of those tried from two seeds that are not reported; a grid grows
until its best rate is not at an end.
"""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

import torch

from course_lib.data.corpora.pretraining import Corpus, pretraining_corpus
from course_lib.data.loading.loader import Loader, Windows
from course_lib.measure import t_interval
from course_lib.models import GPT
from course_lib.models.gpt import dense_equivalent
from course_lib.nn.moe import moe_layers
from course_lib.recipes.experts_sweep import TEXT, TEXT_BATCH, TEXT_STEPS, VALIDATED
from course_lib.recipes.language import bits_per_byte
from course_lib.recipes.rates import rate_text, search_rate
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, seeds_of
from course_lib.train import TrainConfig, next_token_loss, train
from course_lib.train.mixture import moe_loss

LEARNED, RANDOM, DENSE = ARMS = ("learned", "random", "dense")
SEEDS = 10  # that each arm is reported on: 0 to 9, or 10 to 19 in a run of seed 1
RATES_SEEDS = (100, 101)  # of the runs that choose the learning rates


class RoutersPlan(NamedTuple):
    """The learning rates that every arm is tried at, to begin with."""

    rates: tuple[float, ...]


PRESETS = {"cpu": RoutersPlan((6e-3, 12e-3, 24e-3))}


def learn(arm: str, rate: float, seed: int, text: Corpus, steps: int = TEXT_STEPS) -> GPT:
    """Train one arm. All draw the same weights and batches, the dense model as far as it has them.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    torch.manual_seed(seed)
    model = GPT(dense_equivalent(TEXT) if arm == DENSE else TEXT)
    if arm == RANDOM:
        for layer in moe_layers(model):
            layer.router.requires_grad_(False)
    data = Loader(Windows(text.train, TEXT.context), TEXT_BATCH, seed=seed)
    loss = next_token_loss if arm == DENSE else moe_loss
    train(model, data, loss, TrainConfig(steps, lr=rate, seed=seed), label=f"{arm} {rate:g}")
    return model.eval()


def best_rate(arm: str, plan: RoutersPlan, text: Corpus, run: Run, values: dict[str, float]) -> float:
    """Return the learning rate with the fewest bits per byte on the validation text, on average over two seeds."""

    def key(rate: float, seed: int) -> str:
        return f"routers.{arm}.at-{rate_text(rate)}.seed-{seed}"

    def bits(task: tuple[float, int]) -> float:
        model = learn(arm, *task, text, run.steps or TEXT_STEPS)
        return bits_per_byte(model, text, text.validation[:VALIDATED], TEXT.context)

    return search_rate(run, values, plan.rates, RATES_SEEDS, key, bits).chosen


def routers(run: Run) -> Results:
    """Train all arms from ten seeds at their best rates; keep no model.

    The results have each arm's bits per byte on the test text: on every seed, the mean and its interval; and how many
    more the others need than the mixture, from the same seed.
    """
    plan = run.choose(PRESETS)
    values = run.measured_so_far((plan, TEXT, TEXT_STEPS, TEXT_BATCH, RATES_SEEDS))
    text, seeds = pretraining_corpus(TEXT.vocab_size), seeds_of(run.seed, SEEDS)

    def bits(task: tuple[str, int]) -> float:
        arm, seed = task
        model = learn(arm, values[f"routers.{arm}.rate"], seed, text, run.steps or TEXT_STEPS)
        return bits_per_byte(model, text, text.test[:VALIDATED], TEXT.context)

    for arm in ARMS:
        values[f"routers.{arm}.rate"] = best_rate(arm, plan, text, run, values)
    run.measure_each(values, {f"routers.{arm}.seed-{seed}": (arm, seed) for seed in seeds for arm in ARMS}, bits)
    on_seeds = {arm: [values[f"routers.{arm}.seed-{seed}"] for seed in seeds] for arm in ARMS}
    for arm, found in on_seeds.items():
        behind = [own - learned for own, learned in zip(found, on_seeds[LEARNED], strict=True)]
        parts = {arm: found} if arm == LEARNED else {arm: found, f"{arm}.behind": behind}
        for name, part in parts.items():
            values[f"routers.{name}"] = fmean(part)
            values[f"routers.{name}.from"], values[f"routers.{name}.to"] = t_interval(part)
    return write_results(run, values, {f"routers.{LEARNED}": f"routers.{RANDOM}"})
