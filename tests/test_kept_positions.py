"""The kept runs of `course train positions` belong to the code that is here, and each best rate is bracketed."""

import pytest
from site_project import ROOT

from course_lib.files import read_json
from course_lib.measure import committed_run
from course_lib.recipes.positions_sweep import ARMS, PRESETS, SEEDS, best_rates, number_key
from course_lib.recipes.rates import rates_of
from course_lib.site import rates


def test_the_runs_are_whole():
    plan = PRESETS["cpu"]
    keys = {number_key(arm, rate) for arm in ARMS for rate in rates_of(plan, arm)}
    for seed in SEEDS:
        assert committed_run("positions", seed, size="cpu").keys() == keys


@pytest.mark.parametrize("arm", ARMS)
def test_the_best_rate_is_inside_the_grid(arm):
    rates = rates_of(PRESETS["cpu"], arm)
    assert rates[0] < best_rates()[arm] < rates[-1]


def test_the_trial_of_the_lab_s_rates_is_that_of_the_runs():
    trial = read_json(ROOT / "results" / "rates" / "ch01_positions.json")
    runs = [committed_run("positions", seed, size="cpu") for seed in SEEDS]
    arms = trial["comparisons"]["encodings"]["arms"]
    assert {arm: tried["chosen"] for arm, tried in arms.items()} == best_rates()
    for arm, tried in arms.items():
        losses = {f"{rate:g}": [run[number_key(arm, rate)] for run in runs] for rate in rates_of(PRESETS["cpu"], arm)}
        assert tried["losses"] == losses
    assert not list(rates.complaints(trial, range(10)))
