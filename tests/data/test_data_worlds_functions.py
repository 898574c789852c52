"""Linear functions in context: Bayes predictions and risks against integrals, other solvers and simulation."""

import dataclasses
import math

import pytest
import torch
from guessing import mean_is, rng

from course_lib.data.worlds.functions import LinearFunctions

WORLDS = [LinearFunctions(), LinearFunctions(3, 6, noise=0.2, scale=2.0), LinearFunctions(1, 4, noise=1.5)]


def integrate(world, batch, row, k):
    """Mean of example k's output given the earlier ones: a sum over a fine grid of functions, d = 1."""
    w = torch.linspace(-12, 12, 40_001, dtype=torch.float64) * world.scale
    x, y = batch.inputs[row, :, 0].double(), batch.outputs[row].double()
    log = -((w / world.scale) ** 2) / 2 - ((y[:k, None] - x[:k, None] * w) ** 2).sum(0) / 2 / world.noise**2
    p = log.softmax(0)
    return ((p * w).sum() * x[k]).item()


@pytest.mark.parametrize("world", [LinearFunctions(1, 5), LinearFunctions(1, 4, noise=1.5, scale=3.0)], ids=str)
def test_ridge_is_the_posterior_mean(world):
    batch = world.sample(6, rng())
    predictions = world.ridge(batch)
    for row in range(6):
        for k in range(world.n_examples):
            mean = integrate(world, batch, row, k)
            # The grid's sum is exact to rounding for a bell curve that is wide against its step.
            assert predictions[row, k].item() == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_ridge_agrees_with_least_squares_on_added_rows(world):
    batch = world.sample(20, rng())
    predictions = world.ridge(batch)
    assert (predictions[:, 0] == 0).all()
    penalty = world.noise / world.scale * torch.eye(world.d, dtype=torch.float64)
    for k in range(1, world.n_examples):
        x = torch.cat([batch.inputs[:, :k].double(), penalty.expand(20, -1, -1)], dim=1)
        y = torch.cat([batch.outputs[:, :k].double(), torch.zeros(20, world.d).double()], dim=1)
        weights = torch.linalg.lstsq(x, y[..., None]).solution[..., 0]
        expected = (batch.inputs[:, k].double() * weights).sum(1)
        torch.testing.assert_close(predictions[:, k], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_no_other_penalty_has_a_smaller_error_than_ridge(world):
    batch = world.sample(20_000, rng())
    errors = (world.ridge(batch) - batch.outputs) ** 2
    assert mean_is(batch.outputs[:, -1].double() ** 2, world.zero_risk)
    for factor in (0.5, 2.0):  # a wrong penalty
        wrong = dataclasses.replace(world, scale=world.scale * factor).ridge(batch)
        assert ((wrong - batch.outputs) ** 2).mean() > errors.mean()


@pytest.mark.parametrize("noise", [0.0, 0.7])
# Far enough from d for the squared error to have a variance, so that a sample's mean can be trusted.
@pytest.mark.parametrize(("d", "k"), [(2, 6), (2, 9), (1, 5), (6, 1), (6, 2), (5, 0)])
def test_least_squares_risk_by_simulation(d, k, noise):
    world = LinearFunctions(d, k + 1, noise, scale=1.3)
    batch = world.sample(40_000, rng())
    weights = torch.zeros(40_000, d).double()
    if k:
        weights = (torch.linalg.pinv(batch.inputs[:, :k].double()) @ batch.outputs[:, :k, None].double())[..., 0]
    errors = ((batch.inputs[:, k].double() * weights).sum(1) - batch.outputs[:, k]) ** 2
    if noise == 0 and k >= d:
        assert world.least_squares_risk(k) == 0
        assert errors.max() < 1e-6  # outputs are rounded to float32, and a few inputs are nearly degenerate
    else:
        assert mean_is(errors, world.least_squares_risk(k))


def test_least_squares_explodes_where_examples_are_as_many_as_dimensions():
    world = LinearFunctions(4)
    assert [k for k in range(12) if math.isinf(world.least_squares_risk(k))] == [3, 4, 5]
    assert LinearFunctions(4, noise=0.0).least_squares_risk(4) == 0
    assert LinearFunctions(4).least_squares_risk(0) == LinearFunctions(4).zero_risk


def test_the_posterior_over_tasks_is_bayes_rule():
    world = LinearFunctions(2, 5, noise=0.6, n_tasks=3, seed=4)
    batch = world.sample(30, rng())
    posterior, predictions = world.task_posterior(batch), world.best_of_tasks(batch)
    for row in range(30):
        odds = [1.0, 1.0, 1.0]
        for k in range(5):
            total = sum(odds)
            values = [(batch.inputs[row, k] @ task).item() for task in world.tasks]
            assert posterior[row, k].tolist() == pytest.approx([o / total for o in odds], rel=1e-4)
            mean = sum(o * v for o, v in zip(odds, values, strict=True)) / total
            assert predictions[row, k].item() == pytest.approx(mean, rel=1e-4, abs=1e-5)
            for i, value in enumerate(values):
                odds[i] *= math.exp(-((batch.outputs[row, k].item() - value) ** 2) / 2 / 0.6**2)
    single = dataclasses.replace(world, n_tasks=1)
    batch = single.sample(10, rng())
    torch.testing.assert_close(single.best_of_tasks(batch), batch.inputs.double() @ single.tasks[0].double())


def test_who_knows_the_tasks_beats_ridge_on_them_and_loses_on_new_ones():
    world = LinearFunctions(n_tasks=4)
    seen, new = world.sample(20_000, rng()), dataclasses.replace(world, n_tasks=None).sample(20_000, rng())
    assert all((world.tasks == weights).all(1).any() for weights in seen.weights[:200])
    assert len(seen.weights.unique(dim=0)) == 4
    assert not any((world.tasks == weights).all(1).any() for weights in new.weights[:200])

    def last(predict, batch):
        return ((predict(batch) - batch.outputs)[:, -1] ** 2).mean()

    assert last(world.best_of_tasks, seen) < last(world.ridge, seen)
    assert last(world.best_of_tasks, new) > 2 * last(world.ridge, new)


def test_predictions_do_not_see_what_they_predict():
    world = LinearFunctions(n_tasks=5)
    batch = world.sample(8, rng())
    for k in range(world.n_examples):
        changed = batch.outputs.clone()
        changed[:, k:] += 100
        other = batch._replace(outputs=changed)
        for predict in (world.ridge, world.best_of_tasks):
            assert torch.equal(predict(batch)[:, : k + 1], predict(other)[:, : k + 1])


def test_tokens_hold_inputs_and_outputs_in_turn():
    world = LinearFunctions(3, 4)
    batch = world.sample(5, rng())
    tokens = world.tokens(batch)
    assert tokens.shape == (5, 8, 4)
    for row, xs, ys in zip(tokens.tolist(), batch.inputs.tolist(), batch.outputs.tolist(), strict=True):
        assert row == [token for x, y in zip(xs, ys, strict=True) for token in ([0, *x], [y, 0, 0, 0])]


def test_outputs_are_the_function_plus_noise():
    world = LinearFunctions(3, 6, noise=0.3, scale=2.0)
    batch = world.sample(20_000, rng())
    noise = batch.outputs - (batch.inputs * batch.weights[:, None]).sum(-1)
    assert mean_is(noise.flatten() ** 2, 0.3**2)
    assert mean_is((batch.weights**2).flatten(), 4.0)
    quiet = dataclasses.replace(world, noise=0.0).sample(10, rng())
    torch.testing.assert_close(quiet.outputs, (quiet.inputs * quiet.weights[:, None]).sum(-1))


def test_the_seeds_decide_and_nothing_else():
    before = torch.get_rng_state()
    world, other = LinearFunctions(n_tasks=4), LinearFunctions(n_tasks=4, seed=1)
    same, again = world.sample(6, rng(3)), LinearFunctions(n_tasks=4).sample(6, rng(3))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not torch.equal(world.tasks, other.tasks)
    assert not torch.equal(same.inputs, world.sample(6, rng(4)).inputs)
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_functions():
    for changes in ({"d": 0}, {"n_examples": 0}, {"n_tasks": 0}):
        with pytest.raises(ValueError, match="must be a whole number, at least 1"):
            LinearFunctions(**changes)
    for changes in ({"noise": -1.0}, {"scale": 0.0}):
        with pytest.raises(ValueError, match="must be a number"):
            LinearFunctions(**changes)
    quiet = LinearFunctions(noise=0.0)
    with pytest.raises(ValueError, match="least squares"):
        quiet.ridge(quiet.sample(2, rng()))
    with pytest.raises(ValueError, match="limited number of tasks"):
        LinearFunctions().best_of_tasks(LinearFunctions().sample(2, rng()))
