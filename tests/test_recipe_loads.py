"""`course train loads`: a run that is stopped and gone on with, the load of known routers, and the committed run."""

import pytest
import tiny_recipes
import torch

from course_lib.files import read_json
from course_lib.recipes import loads_sweep as sweep
from course_lib.recipes.experts_sweep import COMPARISONS, N_EXPERTS, N_FACTS, untrained
from course_lib.recipes.run import Run
from course_lib.site.paths import find_project


@pytest.fixture(autouse=True)
def as_before():
    """The recipe flushes denormal numbers in its process, which is that of the tests."""
    yield
    torch.set_flush_denormal(False)


def run(out, **asked):
    return sweep.loads(Run("loads", out, seed=7, preset="cpu", **asked)).values


def test_a_run_and_one_that_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setitem(sweep.PRESETS, "cpu", sweep.LoadsPlan(2))
    whole = run(tmp_path / "whole", steps=2)
    strengths = sum(map(len, sweep.STRENGTHS.values()))
    sweep.trained.cache_clear()
    calls = tiny_recipes.runs_of_a_stopped_recipe(
        sweep, "busiest", lambda out, **asked: run(out, steps=2, **asked), whole, tmp_path
    )
    assert calls == 2 * 2 + strengths * len(sweep.TRIED_ON) + 1
    means = [
        sum(whole[f"loads.{arm}.strength-{strength:g}.seed-{seed}.known"] for seed in sweep.TRIED_ON) / 4
        for arm, of_arm in sweep.STRENGTHS.items()
        for strength in of_arm
    ]
    assert whole["loads.strengths.known.most"] == pytest.approx(max(means))
    assert whole["loads.strengths.known.least"] == pytest.approx(min(means))
    assert whole["loads.nobody.mean"] == (whole["loads.nobody.seed-7"] + whole["loads.nobody.seed-8"]) / 2


@pytest.mark.parametrize("favourite", [True, False])
def test_the_load_of_a_router_that_always_chooses_one_expert_is_the_largest_that_there_is(favourite, monkeypatch):
    of = COMPARISONS["facts"]

    def learn(arm, of, rate, seed, **given):
        model = untrained(arm, of.task, seed)
        with torch.no_grad():
            model.layer.router.weight.zero_()
        chosen = torch.zeros(512, dtype=torch.long) if favourite else torch.arange(512) % N_EXPERTS
        model.register_forward_pre_hook(lambda model, given: setattr(model.layer, "chosen", chosen[: len(given[0])]))
        return model

    monkeypatch.setattr(sweep, "learn", learn)
    rest = N_FACTS % sweep.BATCH  # tokens in the last batch
    even = rest % N_EXPERTS == 0
    assert even
    sweep.trained.cache_clear()
    model = sweep.trained("nobody", 0)
    sweep.trained.cache_clear()
    assert sweep.busiest(model, 0) == pytest.approx(N_EXPERTS if favourite else 1)
    assert of.steps == 500


def test_the_committed_run_is_of_the_recipe_and_its_rate_is_the_chosen_one():
    root = find_project().root
    made = read_json(root / "results" / "cpu" / f"loads-seed{sweep.SEED}.json")
    assert made["values"]["loads.seeds"] == sweep.PRESETS["cpu"].seeds
    assert sum(key.startswith("loads.nobody.seed-") for key in made["values"]) == sweep.PRESETS["cpu"].seeds
    assert "loads.bias.strength-0.01.seed-103.known" in made["values"]
    rates = read_json(root / "results" / "rates" / "ch10_moe.json")["comparisons"]["facts"]["arms"]
    assert all(rates[arm]["chosen"] == sweep.RATE for arm in sweep.ARMS.values())
