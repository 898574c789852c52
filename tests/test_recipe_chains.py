"""`course train chains`: what its models read, and a run that is stopped and gone on with."""

import pytest
import tiny_recipes
import torch
import torch.nn.functional as F

from course_lib.exercises.ch05_chain_of_thought.told_only import told_only
from course_lib.recipes import chains_sweep as sweep
from course_lib.recipes.run import Run

WORLD = sweep.WORLDS["chains"]
ARMS = dict(sweep.ARMS)


@pytest.fixture
def tiny(monkeypatch):
    """Two arms at two rates, for a few steps."""
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    monkeypatch.setattr(sweep, "ARMS", {arm: sweep.ARMS[arm] for arm in ("dots", "answer alone, twin")})
    plan = sweep.ChainsPlan({"d_model": 8, "n_layers": 1, "n_heads": 2}, 4, 4, (1e-3, 4e-3), {"dots": (1.6e-2,)})
    monkeypatch.setitem(sweep.PRESETS, "cpu", plan)


def run(out, **asked):
    return sweep.chains(Run("chains", out, seed=sweep.SEEDS[0], **asked)).values


def test_a_run_and_one_that_was_stopped(tiny, tmp_path):
    whole = run(tmp_path / "whole")
    named = {"dots.1e-3", "dots.4e-3", "dots.16e-3", "answer-alone-twin.1e-3", "answer-alone-twin.4e-3"}
    assert whole.keys() == {f"chains.sweep.{name}" for name in named}
    assert len(set(whole.values())) == 5
    assert tiny_recipes.runs_of_a_stopped_recipe(sweep, "loss_at", run, whole, tmp_path) == 6


def test_three_arms_on_ten_seeds(tiny, tmp_path, monkeypatch):
    arms = ("told only, six layers", "chain of thought, six layers", "told only, plus")
    monkeypatch.setattr(sweep, "ARMS", {arm: ARMS[arm] for arm in arms})
    monkeypatch.setattr(sweep, "best_rates", lambda: dict.fromkeys(arms, 1e-2))
    results = sweep.told_only(Run("told-only", tmp_path / "out", steps=2))
    for key in ("told-only-six-layers", "chain-of-thought-six-layers", "told-only-plus"):
        on_seeds = [results.values[f"chains.seeds.{key}.{seed}"] for seed in range(10)]
        assert results.values[f"chains.seeds.{key}"] == pytest.approx(sum(on_seeds) / 10)
        low, high = (results.values[f"chains.seeds.{key}.{end}"] for end in ("from", "to"))
        assert low < results.values[f"chains.seeds.{key}"] < high
    assert results.controls == {"chains.seeds.chain-of-thought-six-layers": "chains.seeds.told-only-six-layers"}


def test_a_chain_is_written_one_number_after_another(monkeypatch):
    """A model that always takes the step right ends at the right answer: it reads what it wrote."""

    problems = WORLD.sample(1000, torch.Generator().manual_seed(1))
    asked = WORLD.prompt(problems)

    def step_by_step(tokens):
        written = tokens[:, asked.shape[1] :]
        n = written.shape[1]
        assert written.equal(problems.states[:, :n])
        return F.one_hot(problems.states[:, n], WORLD.vocab_size)[:, None]

    monkeypatch.setattr(sweep, "learn", lambda *_: step_by_step)
    plan = sweep.PRESETS["cpu"]
    assert sweep.share_right("chain of thought", plan, 0, torch.device("cpu")) == 1


def test_what_each_model_reads_and_is_told():
    chains = WORLD.sample(5, torch.Generator().manual_seed(0))
    prompts, states, dot = WORLD.prompt(chains), chains.states, WORLD.equals + 1

    def rows(writes):
        return sweep.rows_of(writes, WORLD, chains)

    for mine, theirs in zip(rows("told only"), told_only(prompts, states, dot), strict=True):
        assert mine.equal(theirs)
    assert rows("answer alone")[0].equal(prompts)
    assert rows("answer alone")[1].equal(states[:, -1:])
    assert (rows("dots")[1][:, :-1] == dot).all()
    assert rows("chain of thought")[1].equal(states)
    assert rows("chain of thought")[0].equal(torch.cat([prompts, states[:, :-1]], dim=1))
    assert all(len(rows(arm.writes)) == 2 for arm in sweep.ARMS.values())
    with pytest.raises(ValueError, match='writes="nothing" is not supported; use one of answer alone, dots, '):
        rows("nothing")
    others = rows("another's steps")[1]
    assert others[1:, :-1].equal(states[:-1, :-1])
    assert others[:, -1].equal(states[:, -1])


def test_the_twin_keeps_what_was_put_last():
    start, operators, operands = torch.tensor([3]), torch.tensor([[0, 1, 0]]), torch.tensor([[5, 4, 6]])
    assert sweep.last_put(start, operators, operands).tolist() == [[3, 4, 4]]


def test_an_arm_that_learned_nothing_has_the_rate_in_the_middle(monkeypatch):
    losses = {
        "dots": {3e-3: sweep.GUESS - 0.001, 1e-2: sweep.GUESS + 0.01, 3e-2: sweep.GUESS},
        "chain of thought": {3e-3: 1.0, 1e-2: 0.5, 3e-2: 0.1},
    }
    monkeypatch.setattr(sweep, "losses_by_rate", lambda size: losses)
    assert sweep.best_rates() == {"dots": sweep.DEFAULT_RATE, "chain of thought": 3e-2}
