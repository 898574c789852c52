"""`course train random-reward`: the control of the lab on safety, from weights as they are and nudged."""

import copy

import pytest
import torch

from course_lib.recipes import random_reward_sweep as sweep
from course_lib.recipes.run import Run


def test_a_nudge_moves_each_weight_by_about_what_rounding_does():
    model = torch.nn.Linear(50, 50)
    moved = copy.deepcopy(model)
    sweep.nudged(moved, 1)
    share = (moved.weight / model.weight - 1).abs()
    assert 0 < share.mean() < 2e-6
    assert share.max() < 1e-5
    other = copy.deepcopy(model)
    sweep.nudged(other, 2)
    assert not other.weight.equal(moved.weight)


def test_a_run_and_one_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "EVERY", 1)
    run = {"seed": 3, "steps": 2, "preset": "cpu"}
    values = sweep.random_reward(Run("random-reward", tmp_path / "out", **run)).values
    ends = [values[f"safety.luck.{nudge}"] for nudge in range(9)]
    assert all(0 <= end <= 1 for end in ends)
    assert values["safety.luck.runs"] == 9
    assert (values["safety.luck.lowest"], values["safety.luck.highest"]) == (min(ends), max(ends))
    # Two steps teach nothing, so its task is lost from the first look.
    assert values["safety.luck.first-lost"] == values["safety.luck.last-lost"] == 1
    monkeypatch.setattr(sweep, "Counter", lambda *_: pytest.fail("trained again"))
    assert sweep.random_reward(Run("random-reward", tmp_path / "out", resume=True, **run)).values == values
