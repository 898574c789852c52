"""The kept run of `course train scaling` belongs to the code that is here, and each best rate is bracketed."""

import pytest
from kept_rates import assert_trial_is_that_of_the_runs

from course_lib.measure import committed_run
from course_lib.recipes import scaling_sweep as sweep

PLAN = sweep.PRESETS["cpu"]
HELD = list(PLAN.cells(PLAN.held_out))


@pytest.mark.parametrize("seed", sweep.KEPT)
def test_the_run_is_whole(seed):
    kept = committed_run("scaling", seed, size="cpu")
    wanted = {sweep.number_key(*cell, what) for cell in [*PLAN.cells(), *HELD] for what in (*PLAN.rates, "test")}
    assert kept.keys() == wanted | {sweep.number_key(*cell, "predicted") for cell in HELD}


def test_the_lab_trains_a_part_of_it():
    sample = [*sweep.SAMPLE.cells(), *sweep.SAMPLE.cells(sweep.SAMPLE.held_out)]
    assert set(sample) <= set(PLAN.cells())


@pytest.mark.parametrize("cell", [*PLAN.cells(), *HELD])
def test_the_best_rate_is_inside_the_grid(cell):
    assert PLAN.rates[0] < sweep.best_rates()[cell] < PLAN.rates[-1]


def test_the_trial_of_the_lab_s_rates_is_that_of_the_run():
    runs = [committed_run("scaling", seed, size="cpu") for seed in sweep.SEEDS]
    budgets = {f"{budget:g} operations": budget for budget in (*PLAN.budgets, *PLAN.held_out)}
    comparisons = {name: dict.fromkeys(PLAN.cells((budget,)), PLAN.rates) for name, budget in budgets.items()}
    assert_trial_is_that_of_the_runs(
        "ch07_scaling_laws",
        runs,
        comparisons,
        lambda cell, rate: sweep.number_key(*cell, rate),
        lambda cell: f"width {cell[0]}",
    )


@pytest.mark.parametrize("seed", sweep.KEPT)
def test_the_law_is_too_pessimistic_far_ahead_and_its_floor_is_undercut(seed):
    kept = committed_run("scaling", seed, size="cpu")
    law = sweep.law_of(kept, PLAN)
    for budget, least in zip(PLAN.held_out, (0.02, 0.05), strict=True):
        cells = list(PLAN.cells((budget,)))
        measured = min(kept[sweep.number_key(*cell, "test")] for cell in cells)
        predicted = min(law.loss(sweep.size_of(cell[0]), sweep.characters_for(*cell)) for cell in cells)
        assert predicted / measured - 1 > least
    assert measured < law.e - 0.02


@pytest.mark.parametrize("seed", sweep.KEPT)
@pytest.mark.parametrize("budget", PLAN.held_out)
def test_the_best_width_of_a_held_out_budget_is_bracketed(seed, budget):
    kept = committed_run("scaling", seed, size="cpu")
    losses = [kept[sweep.number_key(*cell, "test")] for cell in PLAN.cells((budget,))]
    assert 0 < losses.index(min(losses)) < len(losses) - 1
