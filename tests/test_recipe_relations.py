"""`course train two-relations`: its numbers, a run that is stopped and gone on with, and a layer of the lab in it."""

import pytest
import tiny_recipes
import torch
from torch.testing import assert_close

from course_lib.exercises.ch01_heads.multi_head_attention import MultiHeadAttention
from course_lib.nn.attention import causal_mask
from course_lib.recipes import relations_sweep as sweep
from course_lib.recipes.results import read_results
from course_lib.recipes.run import Run


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Two seeds of two steps, at two rates, and one arm at a third."""
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    for plans in (sweep.PRESETS, sweep.PATIENT):
        monkeypatch.setitem(plans, "cpu", sweep.Plan(2, 4))
    monkeypatch.setattr(sweep, "RATES", (1e-3, 8e-3))
    monkeypatch.setattr(sweep, "MORE_RATES", {"1-patient": (16e-3,)})
    monkeypatch.setattr(sweep, "SEEDS", 2)


def run(out, **asked):
    return sweep.two_relations(Run("two-relations", out, **asked)).values


def test_a_run_and_one_that_was_stopped(tmp_path):
    whole = run(tmp_path / "whole")
    arms = [(arm, rate) for arm in sweep.ARMS for rate in sweep.rates_of(arm)]
    assert whole.keys() == {sweep.number_key(*arm, what) for arm in arms for what in ("learned", "mean", 0, 1)}
    for arm in arms:
        shares = sweep.values_of(whole, *arm)
        assert shares.keys() == {0, 1}
        assert whole[sweep.number_key(*arm, "mean")] == pytest.approx(sum(shares.values()) / 2)
        assert whole[sweep.number_key(*arm, "learned")] == sum(share >= sweep.LEARNED for share in shares.values())
    results = read_results(tmp_path / "whole" / "results.json")
    assert results.controls["heads.sweep.2.8e-03.learned"] == "heads.sweep.1.8e-03.learned"
    runs = tiny_recipes.runs_of_a_stopped_recipe(sweep, "learn", run, whole, tmp_path)
    assert runs == 2 * len(arms) + 1  # one of them twice
    assert sweep.values_of(run(tmp_path / "next", seed=1), 1, 1e-3).keys() == {2, 3}


def test_the_lab_s_layer_gives_the_same_model():
    """With the layer of the exercise, whose weights are drawn in the same order, a seed gives the same model."""
    plan, test = sweep.Plan(5, 16), sweep.new_rows(0, n=50)
    ours, theirs = (
        sweep.learn(2, layer, seed=0, plan=plan) for layer in (sweep.MultiHeadAttention, MultiHeadAttention)
    )
    mask = causal_mask(sweep.WORLD.length)
    with torch.no_grad():
        assert_close(ours(test, mask), theirs(test, mask), atol=1e-4, rtol=0)
    before, bound, both = sweep.accuracies(ours, test)
    assert both <= min(before, bound)


def test_what_is_hidden_makes_another_model():
    plan, test = sweep.Plan(3, 16), sweep.new_rows(0, n=20)
    hidden, all_seen = (sweep.learn(2, seed=0, plan=plan, hide=hide) for hide in (0.3, 0.0))
    mask = causal_mask(sweep.WORLD.length)
    with torch.no_grad():
        assert not torch.equal(hidden(test, mask), all_seen(test, mask))
