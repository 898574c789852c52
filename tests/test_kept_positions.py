"""The kept runs of `course train positions` belong to the code that is here, and each best rate is bracketed."""

import pytest
from kept_rates import assert_trial_is_that_of_the_runs

from course_lib.measure import committed_run
from course_lib.recipes.positions_sweep import ARMS, FACTORS, PRESETS, SEEDS, best_rates, number_key
from course_lib.recipes.rates import best_rate, rates_of

PLAN = PRESETS["cpu"]
TRIED = {arm: rates_of(PLAN, arm) for arm in ARMS} | dict.fromkeys(FACTORS, PLAN.tuning_rates)


@pytest.fixture(scope="module")
def runs():
    return [committed_run("positions", seed, size="cpu") for seed in SEEDS]


def test_the_runs_are_whole(runs):
    keys = {number_key(arm, rate) for arm, rates in TRIED.items() for rate in rates}
    for run in runs:
        assert run.keys() == keys


@pytest.mark.parametrize("arm", ARMS)
def test_the_best_rate_is_inside_the_grid(arm):
    rates = rates_of(PLAN, arm)
    assert rates[0] < best_rates()[arm] < rates[-1]


def test_each_run_fine_tuned_the_model_of_the_rate_that_the_lab_has(runs):
    for run in runs:
        assert best_rate({rate: run[number_key("rope", rate)] for rate in TRIED["rope"]}) == best_rates()["rope"]


def test_the_trial_of_the_lab_s_rates_is_that_of_the_runs(runs):
    comparisons = {"encodings": ARMS, "stretch": FACTORS}
    tried = {name: {arm: TRIED[arm] for arm in arms} for name, arms in comparisons.items()}
    assert_trial_is_that_of_the_runs("ch01_positions", runs, tried, number_key)
