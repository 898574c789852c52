"""`course train experts`: its grids grow, a run that is stopped goes on, and its models are those of the lab."""

import json
import re

import nbformat
import pytest
import tiny_recipes
import torch
from site_project import ROOT
from torch.testing import assert_close

from course_lib.recipes import experts_sweep as sweep
from course_lib.recipes.rates import RateTrial, keep_rates
from course_lib.recipes.run import Run
from course_lib.site.build import solved_labs

ARMS = [(name, arm) for name, comparison in sweep.COMPARISONS.items() for arm in comparison.arms]
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Three rates, of which the middle one is best, for a step each; on sentences."""
    monkeypatch.setattr(torch, "set_flush_denormal", lambda mode: True)  # else it stays for the tests after these
    tiny_recipes.small_text(monkeypatch, tmp_path)
    monkeypatch.setattr(sweep, "bits_at", lambda rate, seed, text: rate)
    monkeypatch.setitem(sweep.PRESETS, "cpu", sweep.ExpertsPlan(RATES[1:4], RATES, RATES[1:4], RATES))


def run(out, **asked):
    return sweep.experts(Run("experts", out, seed=sweep.KEPT, steps=1, preset="cpu", **asked)).values


def test_a_run_and_one_that_was_stopped(tiny, tmp_path, monkeypatch):
    losses = dict(zip(RATES, (0.9, 0.7, 0.5, 0.6, 0.8), strict=True))
    trained = []

    def learn(arm, of, rate, seed, begin=None):
        trained.append(rate)
        model = sweep.untrained(arm, of.task, seed)
        model.rate = rate
        return model

    monkeypatch.setattr(sweep, "learn", learn)
    monkeypatch.setattr(sweep, "wrong", lambda model, world: losses[model.rate])
    whole = run(tmp_path / "whole")
    made = json.loads((tmp_path / "whole" / "rates.json").read_text())
    assert made["provenance"]["seeds"] == [100, 101, 102, 103]
    for name, arm in ARMS:
        of_arm = made["comparisons"][name]["arms"][arm]
        assert of_arm["chosen"] == 4e-3
        assert of_arm["losses"] == {f"{rate:g}": [losses[rate]] * 4 for rate in RATES[1:4]}
    text = made["comparisons"]["text"]["arms"]["mixture"]
    assert [text["chosen"], *text["losses"]] == [1e-3, "0.001", "0.002", "0.004", "0.008"]  # the grid has grown
    kept = keep_rates(tmp_path / "whole" / "rates.json", tmp_path)
    assert kept == tmp_path / "results" / "rates" / "ch10_moe.json"
    assert json.loads(kept.read_text()) == made
    n_trained = len(trained)
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "learn", run, whole, tmp_path) == n_trained + 1


def test_the_rate_with_the_lowest_mean_is_chosen():
    assert RateTrial({1e-3: [0.5, 0.1], 2e-3: [0.2, 0.2], 4e-3: [0.1, 0.9]}).chosen == 2e-3


@pytest.fixture(scope="module")
def lab():
    """What the cells of the solved lab define before it trains."""
    notebook = nbformat.read(ROOT / "labs" / "ch10_moe.ipynb", as_version=4)
    solved = solved_labs({"ch10_moe": notebook})["ch10_moe"]
    cells = {cell.id: cell.source for cell in solved.cells if cell.cell_type == "code"}
    names = {"STEPS": 3, "models": {}}
    for id in ("imports", "route", "mix-experts", "layer", "layer-weights", "arms", "look", "model", "facts", "learn"):
        # What it sets for all of the process would stay for the tests after these.
        exec(re.sub(r"torch\.set_(num_threads|flush_denormal)\(\w+\)", "pass", cells[id]), names)
    for id in ("fresh", "balance", "biased-route"):
        exec(cells[id], names)
    names["models"]["hash"] = names["fresh"]("hash", names["FACTS"])
    exec(cells["why"], names)
    exec(cells["why-tables"], names)
    return names


@pytest.mark.parametrize("arm", sweep.COMPARISONS["facts"].arms)
def test_the_lab_s_models_are_the_same(lab, arm):
    """Each has the weights, the experts and the losses of the lab's model, trained for three steps."""
    facts = sweep.COMPARISONS["facts"]._replace(steps=3)
    ours = sweep.learn(facts.arms[arm], facts, 0.03, seed=0)
    made = {
        "hash, weighed": lambda: lab["assigned"](lab["fresh"]("mixture", lab["FACTS"]), lab["by_second"]),
        "random router": lambda: lab["with_random_router"](lab["FACTS"]),
        "table of both names": lambda: lab["assigned"](lab["fresh"]("hash", lab["FACTS"]), lab["by_both"]),
    }
    theirs = made.get(arm, lambda: lab["fresh"](arm if arm in lab["ARMS"] else "mixture", lab["FACTS"]))()
    layer, nudge = theirs.experts[0], None
    if arm == "with the bias":
        layer.bias = torch.zeros(sweep.N_EXPERTS)

        def nudge(step, metrics):
            load = (layer.weights > 0).float().mean(0)
            layer.bias = layer.bias + sweep.BIAS_STEP * (load.mean() - load).sign()

    balance = sweep.BALANCE if arm == "with the loss" else 0.0
    lab["learn"](arm, theirs, lab["some_facts"], 0.03, 3, balance, nudge)
    with torch.no_grad():
        assert_close(ours(lab["facts"]), theirs(lab["facts"]), atol=1e-4, rtol=0)
