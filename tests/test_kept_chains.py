"""The kept runs of `course train chains` belong to the code that is here, and each best rate is bracketed."""

import pytest

from course_lib.measure import committed_run
from course_lib.recipes.chains_sweep import (
    ARMS,
    DEFAULT_RATE,
    LAB_SEEDS,
    PRESETS,
    SEEDS,
    best_rates,
    learned,
    losses_by_rate,
    number_key,
)
from course_lib.recipes.rates import rates_of

LOSSES = losses_by_rate()


def test_the_runs_are_whole():
    plan = PRESETS["cpu"]
    of_arm = {arm: {number_key(arm, rate) for rate in rates_of(plan, arm)} for arm in ARMS}
    first, second = (committed_run("chains", seed, size="cpu").keys() for seed in SEEDS)
    assert first == set().union(*of_arm.values())
    assert second == set().union(*(of_arm[arm] for arm, losses in LOSSES.items() if learned(losses)))


@pytest.mark.parametrize("arm", ARMS)
def test_the_best_rate_is_inside_the_grid_if_there_is_one(arm):
    rates = rates_of(PRESETS["cpu"], arm)
    assert len(rates) >= 3
    assert rates[0] < best_rates()[arm] < rates[-1]
    if not learned(LOSSES[arm]):
        assert best_rates()[arm] == DEFAULT_RATE


def test_neither_a_layer_for_each_step_nor_plus_alone_let_a_model_do_without_reading():
    """On ten seeds, as the page says: near a guess when told only, while the chain is learned with six layers."""
    kept = committed_run("told-only", size="cpu")
    for arm in ("told-only-six-layers", "told-only-plus"):
        on_seeds = [kept[f"chains.seeds.{arm}.{seed}"] for seed in range(LAB_SEEDS)]
        assert all(0.1 < share < 0.35 for share in on_seeds)
        assert kept[f"chains.seeds.{arm}"] == pytest.approx(sum(on_seeds) / LAB_SEEDS)
    assert all(kept[f"chains.seeds.chain-of-thought-six-layers.{seed}"] > 0.57 for seed in range(LAB_SEEDS))
