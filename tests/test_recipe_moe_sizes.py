"""`course train moe-sizes`: equal work in every arm, a run that is stopped and gone on with, and equal time."""

import pytest
import tiny_recipes

from course_lib.data.corpora import pretraining
from course_lib.models import GPT
from course_lib.models.gpt import dense_equivalent
from course_lib.nn.moe import count_active_parameters, moe_layers
from course_lib.recipes import moe_sizes as sweep
from course_lib.recipes.run import Run

TINY = {
    sweep.DENSE: sweep.MoeArm({}),
    "two": sweep.MoeArm(sweep.experts(4, 32, 2), "loss"),
    "one": sweep.MoeArm(sweep.experts(4, 32, 1, 32, **sweep.BY_BIAS), "bias"),
}


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Three arms for a few steps, on sentences; "two" is half as fast as the dense model, "one" three quarters."""
    tiny_recipes.small_text(monkeypatch, tmp_path)
    tiny_recipes.shrink(monkeypatch.setattr)
    monkeypatch.setattr(sweep, "ARMS", TINY)
    monkeypatch.setattr(sweep, "TRAINED", tuple(TINY))
    monkeypatch.setattr(sweep, "SEEDS", 2)
    monkeypatch.setitem(sweep.PRESETS, "cpu", sweep.MoeSizesPlan(8, (1e-3, 4e-3, 16e-3), 1, 1))
    speeds = {sweep.DENSE: 1.0, "two": 0.5, "one": 0.75}
    named = {sweep.number_key(arm, "speed"): speed for arm, speed in speeds.items()}
    monkeypatch.setattr(sweep, "measure_speeds", lambda plan, text, run: named)


def without_clock(values):
    return {key: value for key, value in values.items() if ".seconds" not in key}


def run(out, **asked):
    return without_clock(sweep.moe_sizes(Run("moe-sizes", out, preset="cpu", **asked)).values)


@pytest.mark.parametrize("arm", sweep.ARMS)
def test_every_arm_does_the_work_of_the_dense_model(arm):
    config, dense = sweep.config_of(arm), sweep.config_of(sweep.DENSE)
    if arm != sweep.DENSE:
        assert dense_equivalent(config) == dense
        model = GPT(config)
        routers = sum(sum(p.numel() for p in layer.router.parameters()) for layer in moe_layers(model))
        gates = sum(layer.shared_gate.weight.numel() for layer in moe_layers(model) if layer.shared_gate)
        assert count_active_parameters(model) - routers - gates == count_active_parameters(GPT(dense))
    assert (sweep.ARMS[arm].balance == "bias") == config.balanced_by_bias


def test_a_run_and_one_that_was_stopped(tiny, tmp_path, monkeypatch):
    losses = {1e-3: 3.0, 4e-3: 2.0, 16e-3: 2.5}
    monkeypatch.setattr(sweep, "loss_at", lambda arm, rate, *_: losses[rate])
    whole = run(tmp_path / "whole")
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "learn", run, whole, tmp_path) == 7  # six, one of them twice


def test_each_arm_learns_for_the_same_time_at_its_best_rate(tiny, tmp_path, monkeypatch):
    calls = []

    def learn(arm, steps, rate, seed, *_):
        calls.append((arm, steps, rate, seed))
        return GPT(sweep.config_of("two")).eval(), 1.0

    best = {sweep.DENSE: 4e-3, "two": 1e-3, "one": 16e-3}
    monkeypatch.setattr(sweep, "learn", learn)
    monkeypatch.setattr(sweep, "loss_at", lambda arm, rate, *_: abs(rate - best[arm]))
    values = run(tmp_path / "run", seed=1)
    wanted = {(sweep.DENSE, 8, 4e-3), ("two", 4, 1e-3), ("one", 6, 16e-3)}
    assert set(calls) == {(*arm, seed) for arm in wanted for seed in (2, 3)}
    # The grid grew at the end where the best was.
    assert {"moe-sizes.two.at-0.5e-3", "moe-sizes.one.at-32e-3"} <= values.keys()
    assert not {"moe-sizes.two.at-32e-3", "moe-sizes.dense.at-32e-3", "moe-sizes.one.at-0.5e-3"} & values.keys()


def test_the_speed_of_every_arm_is_measured_in_turns(monkeypatch, tmp_path):
    seconds, calls = {sweep.DENSE: 1.0, "two": 2.0, "one": 4.0}, []

    def learn(arm, *_):
        calls.append(arm)
        return None, seconds[arm] * (10 if len(calls) <= 3 else 1)  # the machine is slow in the first round

    monkeypatch.setattr(sweep, "ARMS", TINY)
    monkeypatch.setattr(sweep, "learn", learn)
    plan = sweep.PRESETS["cpu"]._replace(rounds=3)
    text = object.__new__(pretraining.Corpus)  # which nobody reads
    values = sweep.measure_speeds(plan, text, Run("moe-sizes", tmp_path, preset="cpu"))
    assert calls == [*TINY] * 3
    assert [values[sweep.number_key(arm, "speed")] for arm in TINY] == [1, 0.5, 0.25]
    per_step = values[sweep.number_key(sweep.DENSE, "tokens-per-second")] / plan.timed
    assert per_step == 8 * 128  # tokens


def test_a_way_to_balance_that_was_forgotten_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sweep.ARMS, "two", TINY["two"]._replace(balance="by hand"))
    with pytest.raises(ValueError, match='balance="by hand" is not supported; use one of none, loss, bias'):
        run(tmp_path)


def test_both_ways_to_balance(tiny, tmp_path):
    text = pretraining.pretraining_corpus(tiny_recipes.VOCABULARY)
    one, two = (
        sweep.learn(arm, 3, 1e-3, 0, text, Run("moe-sizes", tmp_path, preset="cpu"))[0] for arm in ("one", "two")
    )
    assert all(layer.selection_bias.abs().max() > 0 for layer in moe_layers(one))
    assert all(layer.selection_bias is None for layer in moe_layers(two))
