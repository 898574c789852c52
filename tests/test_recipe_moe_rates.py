"""`course train moe-rates`: grids that grow, a run that is stopped and gone on with, and the trial that is kept."""

import pytest
import tiny_recipes

from course_lib.files import read_json
from course_lib.recipes import language, moe_rates
from course_lib.recipes.rates import RATES_FILE
from course_lib.recipes.run import Run
from course_lib.site import rates

BEST = {"dense": 4e-3, "mixture": 1e-3}


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Both models for a few steps, on sentences, at three rates."""
    tiny_recipes.small_text(monkeypatch, tmp_path)
    tiny_recipes.shrink(monkeypatch.setattr)
    monkeypatch.setattr(moe_rates, "PRESETS", {"cpu": dict.fromkeys(BEST, (2e-3, 4e-3, 8e-3))})


def run(out, **asked):
    return moe_rates.moe_rates(Run("moe-rates", out, seed=100, preset="cpu", steps=2, **asked)).values


def test_the_grid_grows_until_the_best_rate_is_inside(tiny, tmp_path, monkeypatch):
    def trained(run, plan, config, text, stage, label):
        return abs(plan.train.lr - BEST["mixture" if config.n_experts else "dense"])

    monkeypatch.setattr(language, "train_model", trained)
    monkeypatch.setattr(language, "bits_per_byte", lambda model, *_: model)
    run(tmp_path / "run")
    made = read_json(tmp_path / "run" / RATES_FILE)
    arms = made["comparisons"]["text"]["arms"]
    assert {arm: entry["chosen"] for arm, entry in arms.items()} == BEST
    assert list(arms["mixture"]["losses"]) == ["0.0005", "0.001", "0.002", "0.004", "0.008"]
    assert not list(rates.complaints(made, range(3)))
    assert list(rates.complaints(made, [100]))


def test_a_run_trains_each_model_and_one_that_was_stopped_gets_its_numbers(tiny, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    assert len(set(whole.values())) == len(whole) >= 6
    assert tiny_recipes.runs_of_a_stopped_recipe(language, "train_model", run, whole, tmp_path) == len(whole) + 1
