"""The kept runs of `course train positions` belong to the code that is here, and each best rate is bracketed."""

import pytest

from course_lib.measure import committed_run
from course_lib.recipes.positions_sweep import ARMS, PRESETS, SEEDS, best_rates, number_key
from course_lib.recipes.rates import rates_of


def test_the_runs_are_whole():
    plan = PRESETS["cpu"]
    keys = {number_key(arm, rate) for arm in ARMS for rate in rates_of(plan, arm)}
    for seed in SEEDS:
        assert committed_run("positions", seed, size="cpu").keys() == keys


@pytest.mark.parametrize("arm", ARMS)
def test_the_best_rate_is_inside_the_grid(arm):
    rates = rates_of(PRESETS["cpu"], arm)
    assert rates[0] < best_rates()[arm] < rates[-1]
