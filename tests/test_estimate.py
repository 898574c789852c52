"""`course train --estimate`: counts against closed forms, and a command that trains and writes nothing."""

from pathlib import Path

import pytest
import tiny_recipes
import torch
import torch.nn.functional as F
from shell import course
from torch import nn

from course_lib.data.loading.loader import Loader, Windows
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import LLAMA_STYLE
from course_lib.nn.moe import count_active_parameters
from course_lib.recipes import estimate
from course_lib.recipes.command import RECIPES, _busy
from course_lib.recipes.estimate import amount, duration, stage_cost
from course_lib.recipes.run import RecipeError, Run
from course_lib.train import TrainConfig, next_token_loss

BATCH, CONTEXT = 32, 16


def squared(model, x):
    return model(x).square().mean()


def test_two_layers_by_hand():
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    model[0].bias.requires_grad_(False)
    cost = stage_cost(model, lambda _: torch.randn(64, 8), squared, TrainConfig(7), "two", here=False)
    # Forward once; backward once for the gradients of the weights, and once for that of the hidden layer.
    first, second = 2 * 64 * 8 * 32, 2 * 64 * 32 * 4
    assert cost.flops == 2 * first + 3 * second
    # The input of each layer, ReLU's output (which is the second layer's input), and what is squared.
    assert cost.activations == 4 * 64 * (8 + 32 + 4)
    n = 8 * 32 + 32 + 32 * 4 + 4
    assert (cost.parameters, cost.trained, cost.steps) == (n, n - 32, 7)
    assert cost.state == 4 * n + 12 * (n - 32)  # a weight; its gradient and AdamW's two means where it is trained
    assert cost.seconds is None


def gpt(**changes):
    sizes = {"context": CONTEXT, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64} | LLAMA_STYLE | changes
    return GPT(GPTConfig(64, **sizes))


def windows(model, **settings):
    batches = Loader(Windows(torch.randint(64, (5000,)), CONTEXT), BATCH)
    return stage_cost(model, batches, next_token_loss, TrainConfig(5, **settings), "gpt", here=False)


@pytest.mark.parametrize("experts", [{}, {"n_experts": 8, "top_k": 2, "d_ff": 16}], ids=["dense", "experts"])
def test_a_gpt_needs_six_flops_a_token_for_each_active_weight(experts):
    # Two in the forward pass and four in the backward pass, as in PaLM's appendix B (Chowdhery et al. 2022), with two
    # products of context x d_model in each layer's attention; the fused one computes the first of them once more.
    # The embedding is looked up, not multiplied, and gains do not count.
    model = gpt(**experts)
    matrices = count_active_parameters(model) - sum(p.numel() for p in model.parameters() if p.dim() == 1)
    if model.lm_head.weight is not model.token_embedding.weight:
        matrices -= model.token_embedding.weight.numel()
    layers, d_model = 2, 32
    attention = (2 * 6 + 2) * layers * CONTEXT * d_model
    weights_of_experts = 2 * layers * experts.get("top_k", 0) * d_model  # their gradients: a product with each output
    assert windows(model).flops == BATCH * CONTEXT * (6 * matrices + attention + weights_of_experts)


def test_the_part_of_a_batch_stands_for_the_whole():
    model, whole = gpt(), {}
    cost = windows(model)
    batch = torch.randint(64, (BATCH, CONTEXT + 1))
    whole["flops"], whole["activations"] = estimate._count(model, batch, next_token_loss)
    assert (cost.flops, cost.activations) == (whole["flops"], whole["activations"])


def test_accumulated_batches_count_each():
    once, thrice = windows(gpt()), windows(gpt(), gradient_accumulation_steps=3)
    assert (thrice.flops, thrice.activations) == (3 * once.flops, once.activations)


def test_muon_keeps_one_mean():
    adamw, muon = windows(gpt()), windows(gpt(), optimizer="muon")
    matrices = sum(p.numel() for name, p in gpt().named_parameters() if p.dim() == 2 and "blocks." in name)
    assert adamw.state - muon.state == 4 * matrices


def test_steps_are_timed_at_the_size_of_the_stage(monkeypatch):
    monkeypatch.setattr(estimate, "SECONDS", 0.1)

    def seconds(width):
        def loss(model, x):
            return F.mse_loss(model(x), x)

        layer = nn.Linear(width, width)
        return stage_cost(layer, lambda _: torch.ones(64, width), loss, TrainConfig(5), "layer", here=True).seconds

    assert 0 < seconds(16) < seconds(2048)  # 16,000 times the work


def test_numbers_for_people():
    assert [amount(n, "B") for n in (0, 999, 1000, 123_456, 9.994e11)] == ["0 B", "999 B", "1 kB", "123 kB", "999 GB"]
    assert amount(3e18, "FLOP") == "3e+03 PFLOP"
    assert [duration(s) for s in (0.2, 42, 210, 9000)] == [
        "less than a second",
        "42 seconds",
        "3.5 minutes",
        "2.5 hours",
    ]


@pytest.fixture
def tiny(tmp_path, monkeypatch):

    tiny_recipes.small_text(monkeypatch, tmp_path)
    monkeypatch.setattr(estimate, "SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    tiny_recipes.shrink(monkeypatch.setattr)
    return tmp_path


def test_the_command_trains_nothing_and_writes_nothing(tiny, capsys):
    assert course("train", "moe", "--steps", "1000", "--estimate") == 0
    said = capsys.readouterr().out
    assert "moe.dense" in said
    assert "moe.experts" in said
    assert "1,000" in said
    assert "this machine" in said
    assert "H100" in said
    assert "T4" in said
    assert not (tiny / "runs").exists()


def test_the_gpu_preset_is_counted_without_a_gpu(tiny, capsys, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert course("train", "gpt", "--preset", "gpu", "--estimate") == 0
    said = capsys.readouterr().out
    assert "989.4 TFLOP/s (bf16)" in said
    assert "8.1 TFLOP/s (fp32)" in said
    assert "this machine" not in said


def stage(seconds):
    return estimate.StageCost("stage", 1, 1, 60, 1.0, 1, 1.0, False, seconds)


@pytest.mark.parametrize(
    ("preset", "seconds", "shares", "said"),
    [
        ("cpu", (4.0, 2.0), [0.25, 0.5], "about 2.0 minutes here"),
        ("cpu", (4.0, 2.0), [0.7, 0.8], ""),
        ("gpu", (4.0, 2.0), [0.1, 0.1], ""),
        ("gpu", (None, None), [0.1, 0.1], ""),
    ],
)
def test_a_busy_machine_is_named_with_the_time_it_would_take_alone(preset, seconds, shares, said):
    run = Run("moe", Path("none"), preset=preset, costs=[stage(of) for of in seconds], cpu_shares=shares)
    assert said in _busy(run)
    assert bool(said) == bool(_busy(run))


HAVE_STAGES = {"gpt", "moe", "vision-text"}


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe not in HAVE_STAGES])
def test_a_sweep_has_no_estimate(tiny, capsys, recipe):
    size = "hour" if recipe == "moe-rates" else "cpu"  # the one preset that it has
    assert course("train", recipe, "--preset", size, "--estimate") == 2
    assert f"course: {recipe} trains many small models one by one" in capsys.readouterr().err


def test_a_run_of_no_steps_is_refused():
    with pytest.raises(RecipeError, match="at least 1 step, not 0; leave --steps out for the preset's own"):
        Run("gpt", Path("none"), steps=0)


def test_costs_of_each_stage(tiny):
    run = Run("moe", tiny / "none", estimating=True)
    results = RECIPES["moe"](run)
    assert [cost.name for cost in run.costs] == ["moe.dense", "moe.experts"]
    assert len(run.cpu_shares) == 2
    assert all(0 < share < 1.1 for share in run.cpu_shares)
    assert all(cost.steps == tiny_recipes.STEPS and cost.seconds > 0 for cost in run.costs)
    assert not results.values
    assert not (tiny / "none").exists()
