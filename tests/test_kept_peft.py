"""The kept sweep of `course train peft` belongs to the code that is here."""

from functools import partial

import pytest
from kept_rates import assert_trial_is_that_of_the_runs

from course_lib.measure import committed_run
from course_lib.models import GPT, GPTConfig
from course_lib.recipes.peft_sweep import METHODS, PLACES, RATES, SEEDS, best_rates, number_key
from course_lib.tune.frozen import trainable_parameters


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sweep_is_whole(seed):
    tried = {number_key(name, rate, what) for name in METHODS for rate in RATES[name] for what in "ab"}
    assert committed_run("peft", seed, size="cpu").keys() == tried | {"peft.sweep.base.a", "peft.sweep.base.b"}


@pytest.mark.parametrize("name", METHODS)
def test_the_best_rate_is_inside_the_grid(name):
    assert min(RATES[name]) < best_rates()[name] < max(RATES[name])


def test_the_trial_of_the_lab_s_rates_is_that_of_the_sweep():
    runs = [committed_run("peft", seed, size="cpu") for seed in SEEDS]
    assert_trial_is_that_of_the_runs("ch04_peft", runs, {"methods": RATES}, partial(number_key, what="b"))


@pytest.mark.parametrize(("d_model", "n_layers"), [(64, 2), (384, 6), (48, 3)])
def test_methods_have_one_budget(d_model, n_layers):
    def count(name):
        model = METHODS[name](GPT(GPTConfig(50, d_model=d_model, n_layers=n_layers, n_heads=2, position="rope")))
        return sum(p.numel() for p in trainable_parameters(model).values())

    budget = 32 * d_model * n_layers
    assert [count(name) for name in ("lora", "lora-qv", "prefix", "sparse")] == [budget] * 4
    assert 0.9 * budget < count("adapters") <= budget
    places = {count(f"{way}-{place}") for way in ("lora", "sparse") for place in PLACES}
    assert places == {30 * d_model * n_layers}
