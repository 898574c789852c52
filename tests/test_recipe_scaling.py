"""`course train scaling`: a run that is stopped and gone on with, what its models read, and what it predicts."""

import pytest
import tiny_recipes
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from course_lib.measure.scaling import ScalingLaw
from course_lib.recipes import scaling_sweep as sweep
from course_lib.recipes.run import RecipeError, Run
from course_lib.train.optim import adamw_update

LAW = ScalingLaw(1.0, 20.0, 30.0, 0.4, 0.3)


@pytest.fixture
def planted(monkeypatch):
    """Losses that follow a law, in place of training; the rate 2e-2 is the best."""

    def losses_of(cell, rate, run):
        loss = LAW.loss(sweep.size_of(cell[0]), sweep.characters_for(*cell)) + abs(rate - 2e-2)
        return loss, loss + 0.5

    monkeypatch.setattr(sweep, "losses_of", losses_of)
    monkeypatch.setattr(sweep, "N_PROCESSES", 1)  # another process would have the real one
    plan = sweep.ScalingPlan((8, 16, 32, 64), (0.5e9, 1e9, 2e9), (8e9,), (1e-2, 2e-2), 4000)
    monkeypatch.setitem(sweep.PRESETS, "cpu", plan)
    return plan


def run(out, **asked):
    return sweep.scaling(Run("scaling", out, preset="cpu", **asked)).values


def test_a_run_and_one_that_was_stopped(planted, tmp_path):
    """All that is measured comes out as it was; a prediction, from least squares, up to rounding.

    LAPACK promises no last digits. With 12 runs, columns with a condition of 180 and float64, the values may differ by
    12 x 180 x 2.2e-16.
    """
    whole = {
        key: pytest.approx(value, rel=5e-13, abs=0) if key.endswith("predicted") else value
        for key, value in run(tmp_path / "whole").items()
    }
    runs = 2 * (len(list(planted.cells())) + len(list(planted.cells(planted.held_out))))
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "losses_of", run, whole, tmp_path) == runs + 1


@pytest.mark.parametrize("estimating", [False, True])
def test_a_number_of_steps_is_refused_before_anything_starts(planted, tmp_path, estimating):
    """A budget says how many steps a model takes; no message advises to give another number."""
    with pytest.raises(RecipeError, match="scaling takes no --steps, since its plan says how long each model trains"):
        run(tmp_path / "out", steps=10, estimating=estimating)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecipeError, match=r"has no estimate$"):
        run(tmp_path / "out", estimating=True)


def test_the_held_out_budget_is_predicted_and_measured_at_its_best_rate(planted, tmp_path):
    values = run(tmp_path / "whole")
    held = list(planted.cells(planted.held_out))
    assert held
    for cell in held:
        measured = values[sweep.number_key(*cell, "test")]
        assert measured == pytest.approx(LAW.loss(sweep.size_of(cell[0]), sweep.characters_for(*cell)) + 0.5)
        assert values[sweep.number_key(*cell, "predicted")] == pytest.approx(measured, rel=2e-3)


def test_two_processes_find_what_one_finds(monkeypatch, tmp_path):
    monkeypatch.setitem(sweep.PRESETS, "cpu", sweep.ScalingPlan((4, 8), (2e7, 3e7), (6e7,), (1e-2, 2e-2), 200))
    monkeypatch.setattr(sweep, "law_of", lambda values, plan: LAW)  # two sizes are too few for one
    found = []
    for n_processes in (1, 2):
        monkeypatch.setattr(sweep, "N_PROCESSES", n_processes)
        found.append(run(tmp_path / str(n_processes)))
    assert found[0] == found[1]


@pytest.mark.parametrize("size", sweep.PRESETS)
def test_every_run_has_enough_steps_and_enough_text(size):
    plan = sweep.PRESETS[size]
    for budgets in (plan.budgets, plan.held_out):
        cells = list(plan.cells(budgets))
        assert {budget for _, budget in cells} == set(budgets)
        for cell in cells:
            assert sweep.steps_for(*cell) >= sweep.MIN_STEPS
            assert sweep.characters_for(*cell) < sweep.TRAIN_CHARACTERS


def test_no_budgets_have_no_cells():
    assert list(sweep.PRESETS["cpu"].cells(())) == []


def test_a_run_predicts_no_character_twice(monkeypatch):
    read = []
    monkeypatch.setattr(sweep.NextCharacter, "find_gradient", lambda _, windows: read.extend(windows[:, 0].tolist()))
    budget = 40 * 6 * sweep.size_of(16) * sweep.BATCH
    order = torch.randperm(50 * sweep.BATCH)
    text = sweep.TextParts(torch.arange(len(order))[:, None].expand(-1, sweep.CONTEXT + 1), order, None, None)
    sweep.learn(16, budget, 1e-2, text, 0, torch.device("cpu"))
    assert len(read) == len(set(read)) == sweep.steps_for(16, budget) * sweep.BATCH
    with pytest.raises(ValueError, match="more text than there is"):
        sweep.learn(16, 2 * budget, 1e-2, text, 0, torch.device("cpu"))


def test_the_gradient_by_hand_is_that_of_torch():
    windows = torch.randint(sweep.VOCAB_SIZE, (5, sweep.CONTEXT + 1))
    model = sweep.NextCharacter(24, seed=1)
    model.find_gradient(windows)
    parts = model.parts = [part.clone().requires_grad_() for part in model.parts]
    F.cross_entropy(model(windows[:, :-1])[2], windows[:, -1]).backward()
    for part, gradient in zip(parts, model.gradients, strict=True):
        torch.testing.assert_close(gradient, part.grad, atol=1e-6, rtol=1e-5)


def test_a_step_of_adam_is_that_of_the_paper():
    model = sweep.NextCharacter(24, seed=1)
    weights = model.weights.clone()
    mean, square, plain_mean, plain_square = (torch.zeros_like(weights) for _ in range(4))
    for step in range(1, 6):
        model.find_gradient(torch.randint(sweep.VOCAB_SIZE, (5, sweep.CONTEXT + 1)))
        sweep.adam_step(model, mean, square, step, 1e-2, (0.9, 0.98))
        adamw_update(weights, model.gradient, plain_mean, plain_square, step, 1e-2, (0.9, 0.98))
        assert_close(model.weights, weights, rtol=0, atol=1e-6)  # steps of 1e-2, in float32


def test_a_weight_takes_six_operations_for_each_character():
    windows = torch.randint(sweep.VOCAB_SIZE, (5, sweep.CONTEXT + 1))
    with FlopCounterMode(display=False) as counter:
        sweep.NextCharacter(24).find_gradient(windows)
    assert counter.get_total_flops() == 6 * sweep.size_of(24) * len(windows)


def test_a_model_learns_what_follows():
    order = torch.randperm(400 * sweep.BATCH)
    first = torch.arange(len(order)) % 7
    text = sweep.TextParts((first[:, None] + torch.arange(sweep.CONTEXT + 1)) % 7, order, None, None)
    model = sweep.learn(32, 200 * 6 * sweep.size_of(32) * sweep.BATCH, 2e-2, text, 0, torch.device("cpu"))
    assert sweep.loss_on(model, text.train[:700]) < 0.1  # a guess: ln 7
