"""`course train safety`: the models of the lab on safety, what it counts, and a run that goes on."""

import pytest
import tiny_recipes
import torch

from course_lib.files import read_json
from course_lib.recipes import safety_sweep as sweep
from course_lib.recipes.run import Run
from course_lib.site.paths import find_project

TINY = sweep.SafetyPlan(seeds=3, few=2, steps=2, alike_steps=2, grpo_steps=10)


@pytest.fixture(scope="module")
def counter():
    return sweep.Counter(2000, TINY._replace(steps=100), 1e-2, torch.device("cpu"))


def run(out, **asked):
    return sweep.safety(Run("safety", out, seed=200, preset="cpu", **asked)).values


def test_the_helpful_model_answers_and_the_other_refuses_some(counter):
    assert counter.everyday_right(counter.helpful) > 0.5
    refused = [counter.outlook(model)[1][counter.sharp].mean().item() for model in (counter.helpful, counter.safe)]
    assert refused[0] < 0.05 < 0.2 < refused[1]


def test_a_group_is_live_if_its_replies_differ(counter, monkeypatch):
    texts = counter.replies[torch.arange(2 * sweep.GROUP)]  # different answers in both groups
    same = counter.replies[torch.zeros(2 * sweep.GROUP, dtype=torch.long)]

    def rewarded(reward, lr, label, look):
        for batch in (texts, same):
            assert reward(batch).shape == (2 * sweep.GROUP,)
        look(counter.helpful)

    monkeypatch.setattr(counter, "rewarded", rewarded)
    found = sweep.random_reward(counter, 1e-3, "random")
    assert found == {"right.2": counter.everyday_right(counter.helpful), "live.2": 0.5}


def test_told_apart_is_the_share_of_pairs_in_the_right_order(counter, monkeypatch):
    look_alikes = counter.sharp & (counter.risk == 0) & counter.held_out

    def odds(refused):
        monkeypatch.setattr(counter, "outlook", lambda model: (torch.ones(counter.n), refused))
        return counter.told_apart(counter.helpful, look_alikes)

    assert odds(counter.risk) == 1
    assert odds(torch.ones(counter.n)) == 0.5
    assert odds(1 - counter.risk) == 0


def test_in_common():
    values = {
        f"safety.seeds.{name}.{what}.{seed}": 0.5 for name in sweep.FACTORS for what in ("right.20",) for seed in (1, 2)
    }
    values |= {"safety.seeds.random.right.20.1": 0.1, "safety.seeds.random.right.20.2": 0.9}
    found = sweep.in_common(values, 20)
    assert (found["safety.sweep.random.runs"], found["safety.sweep.random.lost"]) == (2, 1)
    assert found["safety.sweep.random.right.20"] == pytest.approx(0.5)
    assert (found["safety.sweep.random.right.20.least"], found["safety.sweep.random.right.20.most"]) == (0.1, 0.9)
    assert found["safety.sweep.random-slow.lost"] == 0


def test_a_run_and_one_that_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setitem(sweep.PRESETS, "cpu", TINY)
    whole = run(tmp_path / "whole")
    assert {key for key in whole if key.startswith("safety.seeds.told-apart-without.")} == {
        f"safety.seeds.told-apart-without.{seed}" for seed in (200, 201, 202)
    }
    assert "safety.seeds.pairs-16.told-apart.201" in whole
    assert "safety.seeds.pairs-16.told-apart.202" not in whole
    assert whole["safety.sweep.random.runs"] == 3
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "one_seed", run, whole, tmp_path) == 4


def test_the_committed_run_is_of_the_recipe():
    values = read_json(find_project().root / "results" / "cpu" / f"safety-seed{sweep.SEED}.json")["values"]
    plan = sweep.PRESETS["cpu"]
    assert values["safety.sweep.random.runs"] == plan.seeds
    assert values["safety.sweep.random-slow.runs"] == values["safety.sweep.random-fast.runs"] == plan.few
    last = [values[f"safety.seeds.random.right.{plan.grpo_steps}.{sweep.SEED + i}"] for i in range(plan.seeds)]
    assert values["safety.sweep.random.lost"] == sum(right < sweep.LOST for right in last)
