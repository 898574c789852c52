"""`course train routers`: which weights learn, equal beginnings, a run that is stopped and gone on with."""

from dataclasses import replace

import pytest
import tiny_recipes
import torch

from course_lib.data.corpora import pretraining
from course_lib.models import GPT
from course_lib.nn.moe import moe_layers
from course_lib.recipes import routers_sweep as sweep
from course_lib.recipes.run import Run


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A small text, small models, two seeds."""
    tiny_recipes.small_text(monkeypatch, tmp_path)
    tiny_recipes.shrink(monkeypatch.setattr)
    monkeypatch.setattr(sweep, "TEXT", replace(sweep.TEXT, vocab_size=300, context=16, d_model=16, d_ff=16))
    monkeypatch.setattr(sweep, "VALIDATED", 200)
    monkeypatch.setattr(sweep, "SEEDS", 2)


def run(out, **asked):
    return sweep.routers(Run("routers", out, preset="cpu", steps=2, **asked)).values


def test_the_router_alone_does_not_learn(tiny):
    text = pretraining.pretraining_corpus(sweep.TEXT.vocab_size)
    torch.manual_seed(3)
    begun = GPT(sweep.TEXT).state_dict()
    trained = {arm: sweep.learn(arm, 1e-2, 3, text, steps=2).state_dict() for arm in (sweep.LEARNED, sweep.RANDOM)}
    routers = {name for name in begun if ".router." in name}
    assert len(routers) == len(moe_layers(GPT(sweep.TEXT)))
    for name, weight in begun.items():
        assert torch.equal(trained[sweep.RANDOM][name], weight) == (name in routers), name
        assert not torch.equal(trained[sweep.LEARNED][name], weight), name


def test_a_run_and_one_that_was_stopped(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "best_rate", lambda arm, *_: {"learned": 1e-2, "random": 2e-2, "dense": 4e-2}[arm])
    whole = run(tmp_path / "whole")
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "learn", run, whole, tmp_path) == 2 * 3 + 1
    behind = [whole[f"routers.random.seed-{seed}"] - whole[f"routers.learned.seed-{seed}"] for seed in (0, 1)]
    assert whole["routers.random.behind"] == pytest.approx(sum(behind) / 2)
    assert whole["routers.random.behind.from"] < whole["routers.random.behind"] < whole["routers.random.behind.to"]


def test_the_grid_grows_until_the_best_rate_is_inside(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "learn", lambda arm, rate, seed, text, steps: abs(rate - 3e-3))
    monkeypatch.setattr(sweep, "bits_per_byte", lambda model, *_: model)
    values, text = {}, pretraining.pretraining_corpus(sweep.TEXT.vocab_size)
    asked = Run("routers", tmp_path / "run", preset="cpu", steps=2)
    assert sweep.best_rate("dense", sweep.PRESETS["cpu"], text, asked, values) == 3e-3
    assert len(values) == 2 * 5  # from 0.0015 to 0.024
