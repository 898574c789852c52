"""`course train positions`: a run that is stopped and gone on with, and what its articles are."""

from dataclasses import replace

import pytest
import tiny_recipes
import torch

from course_lib.data.corpora import wikipedia
from course_lib.models import GPT, GPTConfig
from course_lib.recipes import positions_sweep as sweep
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig

SENTENCE = "the {} is a fish of the sea, and nobody has seen it sleep. "


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Two encodings and a fine-tuning at two rates, a few steps each, on sentences; articles have three lengths."""
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    kinds = [SENTENCE.format(fish) for fish in ("salmon", "carp", "pike", "eel", "cod")]
    lengths = [5, 8, 12] * 20  # sentences: about 300, 480 and 720 characters
    text = "\n\n".join("".join(kinds[(i + k) % 5] for k in range(n)) for i, n in enumerate(lengths))
    monkeypatch.setattr(wikipedia, "wikipedia_text", lambda: text)
    monkeypatch.setattr(sweep, "ARMS", {"rope": 64, "rope-256": 256})
    monkeypatch.setattr(sweep, "FACTORS", {"interpolated and fine-tuned": 2})
    plan = replace(sweep.PRESETS["cpu"], model={"d_model": 8, "n_layers": 1, "n_heads": 2}, steps=4, batch=4)
    plan = replace(plan, tuning=TrainConfig(2, warmup_steps=1), tuning_rates=(3e-4, 3e-3))
    monkeypatch.setitem(sweep.PRESETS, "cpu", replace(plan, rates=(1e-3, 4e-3), more={"rope": (1.6e-2,)}))


def run(out, **asked):
    return sweep.positions(Run("positions", out, **asked)).values


def test_a_run_and_one_that_was_stopped(tmp_path):
    whole = run(tmp_path / "whole")
    named = {"rope.1e-3", "rope.4e-3", "rope.16e-3", "rope-256.1e-3", "rope-256.4e-3"}
    named |= {"interpolated-and-fine-tuned.0.3e-3", "interpolated-and-fine-tuned.3e-3"}
    assert whole.keys() == {f"positions.sweep.{name}" for name in named}
    assert len(set(whole.values())) == 7
    assert (
        tiny_recipes.runs_of_a_stopped_recipe(sweep, "loss_at", run, whole, tmp_path) == 6
    )  # five encodings, one of them twice


@torch.no_grad()
def test_an_interpolated_model_reads_every_second_position_as_before():
    torch.manual_seed(0)
    model = GPT(GPTConfig(7, 8, d_model=16, n_layers=1, n_heads=2, position="rope")).eval()
    ids = torch.randint(7, (1, 8))
    odd_hidden = torch.arange(15) % 2 == 0
    spaced = torch.zeros(1, 15, dtype=torch.long)
    spaced[:, ::2] = ids
    read = sweep.interpolated(model, 2)(spaced, mask=odd_hidden)[:, ::2]
    assert torch.allclose(read, model(ids), atol=1e-5)
    assert not torch.allclose(model(spaced, mask=odd_hidden)[:, ::2], model(ids), atol=1e-2)
    assert torch.allclose(sweep.interpolated(model, 1)(ids), model(ids), atol=1e-5)


def test_rates_are_chosen_on_articles_that_the_lab_does_not_report_on():
    texts = sweep.wikipedia_by_length()
    validation, test = (
        {texts.tokenizer.decode(row[:257].tolist()) for row in part} for part in (texts.validation, texts.test)
    )
    whole = [line for line in wikipedia.wikipedia_text().splitlines() if line]
    assert validation <= {line[:257] for line in whole if 256 < len(line) <= 512}
    assert test <= {line[:257] for line in whole if len(line) > 512}
    assert validation
    assert test
    assert texts.validation.shape[1] == 257
    assert texts.test.shape[1] == 513


def test_the_best_rate_is_that_of_the_mean_over_seeds(monkeypatch):
    kept = {
        100: {"rope.1e-3": 3.0, "rope.4e-3": 1.0, "rope.16e-3": 2.0, "rope-256.1e-3": 2.0, "rope-256.4e-3": 1.0},
        101: {"rope.1e-3": 3.0, "rope.4e-3": 2.5, "rope.16e-3": 1.0, "rope-256.1e-3": 2.5, "rope-256.4e-3": 4.0},
    }
    monkeypatch.setattr(
        sweep, "committed_run", lambda _, seed, size: {f"positions.sweep.{k}": v for k, v in kept[seed].items()}
    )
    assert sweep.best_rates() == {"rope": 1.6e-2, "rope-256": 1e-3}
