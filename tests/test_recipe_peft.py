"""`course train peft`: its budget, a run that is stopped and gone on with, and the kept sweep that the lab cites."""

import json
from dataclasses import replace

import pytest
import tiny_recipes
import torch

from course_lib.errors import DataError
from course_lib.measure import committed_run, saved_for_backward
from course_lib.recipes import peft_sweep as peft
from course_lib.recipes.results import read_results
from course_lib.recipes.run import Run

PSALM = "He maketh me to lie down in green pastures: he leadeth me beside the still waters.\n" * 20


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Seconds, on texts of a few sentences, with three methods at two rates."""
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    lines = "".join(f"{number} {line}\n" for number, line in enumerate(PSALM.splitlines()))
    monkeypatch.setattr(peft, "wikipedia_leads", tiny_recipes.articles)
    monkeypatch.setattr(peft, "king_james", lambda: lines.strip())
    plan = peft.PRESETS["cpu"]
    small = replace(plan.model, context=16, d_model=8, n_heads=2, head_dim=4, d_ff=16, n_kv_heads=2)
    plan = replace(
        plan, model=small, pretraining=replace(plan.pretraining, steps=20, warmup_steps=2), steps=10, batch=4, scored=10
    )
    monkeypatch.setitem(peft.PRESETS, "cpu", plan)
    names = ("lora", "sparse", "full")
    monkeypatch.setattr(peft, "METHODS", {name: peft.METHODS[name] for name in names})
    monkeypatch.setattr(peft, "RATES", dict.fromkeys(names, (1e-3, 3e-2)))
    monkeypatch.setattr(peft, "best_rates", lambda: dict.fromkeys(names, 3e-2))


def run(out, seed=peft.SEEDS[0], **asked):
    return peft.peft(Run("peft", out, seed=seed, **asked)).values


def test_a_run_and_one_that_was_stopped(tmp_path):
    whole = run(tmp_path / "whole")
    assert set(whole) == {f"peft.sweep.base.{what}" for what in "ab"} | {
        peft.number_key(name, rate, what) for name in peft.METHODS for rate in (1e-3, 3e-2) for what in "ab"
    }
    assert whole["peft.sweep.full.3e-02.b"] < whole["peft.sweep.full.1e-03.b"] < whole["peft.sweep.base.b"]
    results = read_results(tmp_path / "whole" / "results.json")
    assert results.values == whole
    assert results.controls["peft.sweep.lora.3e-02.b"] == "peft.sweep.base.b"
    assert results.provenance.command == "course train peft --preset cpu --seed 100"
    assert results.provenance.seconds is None  # this recipe notes no steps
    assert tiny_recipes.runs_of_a_stopped_recipe(peft, "tune", run, whole, tmp_path) == 7  # six runs, one of them twice
    assert run(tmp_path / "other", seed=1).keys() < whole.keys()  # at the best rates alone


def test_what_an_interrupt_cuts_short_is_not_measured(tmp_path, monkeypatch):
    whole, next_token = run(tmp_path / "whole"), peft.next_token_loss
    for at, measured in ((5, 0), (66, 2 + 3 * 2)):  # in the base, of 20 steps; and in the fourth run, of 10
        calls = []

        def stopping(*arguments, calls=calls, at=at):
            calls.append(1)
            if len(calls) == at:
                raise KeyboardInterrupt
            return next_token(*arguments)

        monkeypatch.setattr(peft, "next_token_loss", stopping)
        out = tmp_path / f"cut-{at}"
        with pytest.raises(KeyboardInterrupt):
            run(out)
        done = out / "measured.json"
        assert len(json.loads(done.read_text()) if done.exists() else ()) == measured
        monkeypatch.setattr(peft, "next_token_loss", next_token)
        assert run(out, resume=True) == whole


def test_tuning_leaves_the_base_alone():
    text = peft.wikipedia_and_bible()
    plan = peft.plan_for(text)
    base = peft.pretrain_base(text, plan, 0)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    prepared = []
    tuned = peft.tune(base, "sparse", 0.03, text, plan, 0, prepare=prepared.append)
    assert prepared == [tuned.model]
    assert tuned.parameters == 32 * 8 * 2
    assert (tuned.a, tuned.b) == peft.held_out_losses(tuned.model, text, plan)
    assert all(torch.equal(base.state_dict()[name], tensor) for name, tensor in before.items())
    assert peft.tune(base, "sparse", 0.03, text, plan, 0).b == tuned.b


def test_saved_bytes_are_those_of_the_formula():
    weight = torch.nn.Linear(8, 4, bias=False)
    x = torch.randn(5, 8)
    assert saved_for_backward(weight, lambda: weight(x).exp().sum()) == 4 * (5 * 8 + 5 * 4)  # x, and exp's result
    weight.requires_grad_(False)
    assert saved_for_backward(weight, lambda: weight(x).exp().sum()) == 0
    x.requires_grad_()
    assert saved_for_backward(weight, lambda: weight(x).exp().sum()) == 4 * 5 * 4  # and the weight, which is its own


def test_what_is_not_kept_says_how_to_make_it():
    with pytest.raises(DataError, match=r"peft-seed77.json: run `course train peft --preset cpu --seed 77`"):
        committed_run("peft", 77)
