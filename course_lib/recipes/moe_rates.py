"""The learning rates of `course train moe`: both models are trained at several, for as long as there.

    course train moe-rates --preset hour --seed 100     # about 40 CPU-minutes for each model at each rate

The loss is that on the whole validation text, from a seed that is not reported. (After 250 of the 3,000 steps, other
rates may look best than at the end.) A grid grows until its best rate is not at an end.
`course results add` keeps the trial as results/rates/moe.json; the rates in `language.PRESETS` are those that it chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from course_lib.data.corpora.pretraining import Corpus, pretraining_corpus
from course_lib.models import GPTConfig
from course_lib.models.gpt import dense_equivalent
from course_lib.recipes import language
from course_lib.recipes.rates import RateTrial, rate_text, search_rate, write_rates
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run

RECIPE = "moe"  # the one whose rates these are
COMPARISON = "text"
MEASURE = "bits per byte on the whole validation text, after training"
PRESETS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "hour": dict.fromkeys(("dense", "mixture"), (2e-3, 4e-3, 8e-3))
}


def moe_rates(run: Run) -> Results:
    """Train the mixture and its dense equivalent at several rates each, and choose one for each; no model is kept."""
    grids, plan = run.choose(PRESETS), language.PRESETS[RECIPE][run.preset]
    values = run.measured_so_far((grids, plan))
    text = pretraining_corpus(plan.model.vocab_size, plan.languages)
    configs = {"dense": dense_equivalent(plan.model), "mixture": plan.model}
    trials = {arm: _search(run, plan, configs[arm], arm, grid, text, values) for arm, grid in grids.items()}
    results = write_results(run, values, {})
    steps = run.steps or plan.train.steps
    write_rates(run, results, RECIPE, [run.seed], MEASURE, {COMPARISON: steps}, {COMPARISON: trials})
    return results


def _search(
    run: Run,
    plan: language.Pretraining,
    config: GPTConfig,
    arm: str,
    grid: tuple[float, ...],
    text: Corpus,
    values: dict[str, float],
) -> RateTrial:
    """Train a model at the rates of a grid that grows."""

    def loss_at(task: tuple[float, int]) -> float:
        rate, _ = task
        at_rate = replace(plan, train=replace(plan.train, lr=rate))
        name = f"{arm}-{rate_text(rate)}"
        model = language.train_model(run, at_rate, config, text, stage=f"run-{name}", label=name)
        return language.bits_per_byte(model, text, text.validation, config.context)

    return search_rate(run, values, grid, [run.seed], lambda rate, _: f"moe-rates.{arm}.{rate_text(rate)}", loss_at)
