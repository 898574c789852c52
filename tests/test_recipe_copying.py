"""`course train copying`: its numbers, a run that is stopped and gone on with, and the lab's model in it."""

import pytest
import tiny_recipes
import torch
from torch.testing import assert_close

from course_lib.data.worlds.induction import RepeatedBlocks
from course_lib.recipes import copying_sweep as sweep
from course_lib.recipes.results import read_results
from course_lib.recipes.run import RecipeError, Run

WORLD = RepeatedBlocks(n_symbols=8, length=16, min_period=3, max_period=6)
SIZES = (sweep.Size(2, 8), sweep.Size(1, 8))
LOOKS = (25, 50)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Two sizes, two rates and two seeds, in this process."""
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    monkeypatch.setitem(sweep.PRESETS, "cpu", sweep.CopyingPlan(WORLD, SIZES, LOOKS, batch=4))
    monkeypatch.setattr(sweep, "RATES", (1e-3, 1e-2))
    monkeypatch.setattr(sweep, "SEEDS", 2)
    monkeypatch.setattr(sweep, "on_all_cores", lambda f, tasks, n_processes: cores(f, tasks))
    monkeypatch.setattr(torch, "set_flush_denormal", lambda mode: True)  # else it stays for the tests after these


def cores(function, tasks):
    from contextlib import nullcontext

    return nullcontext(map(function, tasks))


def run(out, **asked):
    return sweep.copying(Run("copying", out, **asked)).values


def test_a_run_and_one_that_was_stopped(tmp_path):
    whole = run(tmp_path / "whole")
    whats = ("at-25", "at-50", "half")
    arms = [(size, rate, what) for size in SIZES for rate in sweep.RATES for what in whats]
    assert whole.keys() == {sweep.number_key(*arm, seed) for arm in arms for seed in (None, 0, 1)}
    for arm in arms:
        of_seeds = [whole[sweep.number_key(*arm, seed)] for seed in (0, 1)]
        assert whole[sweep.number_key(*arm)] == pytest.approx(sum(of_seeds) / 2)
    controls = read_results(tmp_path / "whole" / "results.json").controls
    assert controls["copying.2x8.1e-03.at-50"] == "copying.1x8.1e-03.at-50"
    # eight runs, one of them twice
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "learn", run, whole, tmp_path) == 9
    assert sweep.number_key(SIZES[0], 1e-3, "half", 2) in run(tmp_path / "next", seed=1)


def test_steps_are_those_of_a_look(tmp_path):
    for steps in (10, 30):
        with pytest.raises(RecipeError, match=f"copying measures every 25 steps; .* not {steps}"):
            run(tmp_path / "out", steps=steps)
        assert not (tmp_path / "out").exists()
    assert sweep.number_key(SIZES[0], 1e-3, "at-25") in run(tmp_path / "out", steps=25)


def test_a_summary_has_the_first_step_above_one_half():
    assert sweep.summary([0.1, 0.6, 0.4, 0.9], (50, 100)) == {"at-50": 0.6, "at-100": 0.9, "half": 50}
    assert sweep.summary([0.1, 0.5], (50,)) == {"at-50": 0.5, "half": 50}, "0.5 is not above: it counts to the end"


def test_the_accuracy_is_that_of_known_tokens_alone():
    test = WORLD.sample(20, torch.Generator().manual_seed(0))

    class Knows(torch.nn.Module):
        def __init__(self, tokens):
            super().__init__()
            self.weight, self.tokens = torch.nn.Parameter(torch.zeros(())), tokens

        def forward(self, rows):
            return torch.nn.functional.one_hot(self.tokens[:, 1:], WORLD.n_symbols).float()

    half_known = torch.where(test.known, test.tokens, 0)
    assert sweep.accuracy(Knows(half_known), test) == 1
    assert sweep.accuracy(Knows((test.tokens + 1) % WORLD.n_symbols), test) == 0


def test_one_layer_learns_what_it_can_without_order_and_a_seed_repeats():
    plan = sweep.CopyingPlan(WORLD, SIZES, LOOKS, batch=16)
    twice = [sweep.learn(SIZES[0], 1e-2, 3, plan, torch.device("cpu")) for _ in range(2)]
    assert_close(torch.tensor(twice[0]), torch.tensor(twice[1]), atol=0, rtol=0)
    assert len(twice[0]) == 2
    assert twice[0][-1] > WORLD.chance
