"""The training loop: schedule, clipping, seeds, and what happens when a run goes wrong or is stopped."""

import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close

from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES
from course_lib.train import Loss, RunFolder, TrainConfig, TrainingDiverged, next_token_loss, read_metrics, train
from course_lib.train.config import CHOICES as TRAINING
from course_lib.train.loop import STEP_METRICS
from course_lib.train.optim import CPUMuon, adamw_update, build_optimizers, lr_factor, muon_update, orthogonalize
from course_lib.train.precision import autocast, bf16_speedup, choose_precision
from course_lib.train.snapshots import train_with_snapshots
from course_lib.tune.lora import add_lora


class Scalar(nn.Module):
    """One number, wherever it starts."""

    def __init__(self, start=0.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([start]))


def target(generator):
    return torch.randn(1, generator=generator)


def squared(model, batch):
    return ((model.w - 3) ** 2).sum()


def test_learning_rate():
    config = TrainConfig(steps=110, lr=2.0, warmup_steps=10, min_lr_ratio=0.1)
    assert [lr_factor(step, config) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert lr_factor(10, config) == pytest.approx(1.0)
    assert lr_factor(60, config) == pytest.approx(0.1 + 0.9 / 2)  # half way down the cosine
    assert lr_factor(110, config) == pytest.approx(0.1)
    rates = [lr_factor(step, config) for step in range(10, 111)]
    assert rates == sorted(rates, reverse=True)
    constant = TrainConfig(steps=110, lr=2.0, warmup_steps=0, schedule="constant")
    assert {lr_factor(step, constant) for step in range(110)} == {1.0}
    wsd = TrainConfig(steps=110, warmup_steps=10, schedule="wsd", decay_ratio=0.5, min_lr_ratio=0.2)
    assert {lr_factor(step, wsd) for step in range(9, 56)} == {1.0}
    assert lr_factor(82, wsd) == pytest.approx(0.2 + 0.8 * 28 / 55)
    assert lr_factor(110, wsd) == pytest.approx(0.2)


@pytest.mark.parametrize(("setting", "choice"), [(name, one) for name, known in TRAINING.items() for one in known])
def test_every_choice_trains(setting, choice):
    model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2))
    before = model.blocks[0].attention.qkv.weight.clone()
    train(model, windows, next_token_loss, TrainConfig(2, warmup_steps=0, **{setting: choice}))
    assert not before.equal(model.blocks[0].attention.qkv.weight)


@pytest.mark.parametrize("setting", TRAINING)
def test_a_choice_that_was_forgotten_is_refused(setting):
    """It never trains as another one, and the sentence says what to take instead."""
    config = TrainConfig(2)
    object.__setattr__(config, setting, "one of the future")
    known = ", ".join(TRAINING[setting])
    with pytest.raises(ValueError, match=f'{setting}="one of the future" is not supported; use one of {known}'):
        train(Scalar(), target, squared, config)


def test_losses_are_computed_in_a_precision_that_is_known():
    for kind in TRAINING["precision"]:
        if kind != "auto":
            with autocast(kind, torch.device("cpu")):
                assert torch.is_autocast_enabled("cpu") == (kind == "bf16")
    with pytest.raises(ValueError, match='precision="auto" is not supported; use one of fp32, bf16'):
        autocast("auto", torch.device("cpu"))


def test_it_finds_the_minimum_and_tells_the_story():
    model = Scalar().eval()
    history = train(model, target, squared, TrainConfig(steps=300, lr=0.1))
    assert model.training
    assert model.w.item() == pytest.approx(3, abs=0.01)
    assert history.step == list(range(300))
    assert history.loss[0] == 9.0
    assert history.loss[-1] < 1e-3
    assert history.lr == [0.1 * lr_factor(step, TrainConfig(steps=300, lr=0.1)) for step in range(300)]
    # The gradient of (w - 3)^2, before it is clipped to length 1.
    assert history.grad_norm == pytest.approx([2 * loss**0.5 for loss in history.loss], rel=1e-5)
    assert history.grad_norm[0] == 6.0
    assert history.cpu_seconds > 0
    assert not history.interrupted


def test_after_each_step_comes_its_number_and_its_metrics():
    told = []
    config = TrainConfig(3, lr=0.1)
    history = train(Scalar(), target, squared, config, after_step=lambda *given: told.append(given))
    assert [step for step, _ in told] == [1, 2, 3]
    assert [metrics["loss"] for _, metrics in told] == history.loss
    assert all(metrics.keys() == STEP_METRICS - {"step"} for _, metrics in told)


def test_snapshots_are_at_equal_distances_from_before_the_first_step_to_the_end():
    model = Scalar()
    snapshots = train_with_snapshots(model, target, squared, TrainConfig(20, lr=0.1), lambda: model.w.item(), 5)
    assert len(snapshots) == 6
    assert snapshots == sorted(snapshots)
    assert (snapshots[0], snapshots[-1]) == (0, model.w.item())
    torch.manual_seed(0)
    again = Scalar()
    train(again, target, squared, TrainConfig(20, lr=0.1))
    assert again.w.item() == model.w.item(), "measuring changes nothing"
    with pytest.raises(ValueError, match="20 steps cannot be cut into 6 equal parts"):
        train_with_snapshots(model, target, squared, TrainConfig(20), lambda: 0, 6)


def test_the_bare_loop_on_the_page_does_what_the_course_s_does(tmp_path, monkeypatch):
    page = Path(__file__).parent.parent / "book" / "library" / "train.md"
    bare, ours, saving = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), re.DOTALL)
    names = {}
    exec(bare, names)
    exec(ours, names)
    losses = names["losses"]
    # In float32 a loss of a few nats has an error of 5e-7; the two sum and divide in another order.
    assert_close(torch.tensor(losses), torch.tensor(names["history"].loss), rtol=0, atol=1e-5)
    assert losses[0] - losses[-1] > 1
    assert names["validation_losses"][0] > names["validation_losses"][-1]

    # As many steps again, in one go and after a checkpoint at half way: the same to the bit.
    monkeypatch.chdir(tmp_path)
    begin, loop = bare[: bare.index("for step in")], bare[bare.index("for step in") :]
    half, rest = (loop.replace("range(steps)", f"range({steps})") for steps in ("30", "load(), steps"))
    exec(begin + half + saving + "save(step)\n" + begin + rest, names)
    assert names["losses"] == losses[30:]


def test_the_update_is_adamw():
    """The first two steps by the formula of Loshchilov and Hutter (2017), algorithm 2, in Python floats."""
    model = Scalar(1.0)
    model.matrix = nn.Parameter(torch.tensor([[2.0]]))
    config = TrainConfig(2, lr=0.1, warmup_steps=2, weight_decay=0.5, betas=(0.9, 0.98), max_grad_norm=None)
    train(model, target, lambda m, b: (m.w**2).sum() + (m.matrix**2).sum(), config)
    for start, decay, ours in ((1.0, 0.0, model.w), (2.0, 0.5, model.matrix)):
        w, m, v = start, 0.0, 0.0
        for t, rate in ((1, 0.05), (2, 0.1)):
            gradient = 2 * w
            w *= 1 - rate * decay
            m, v = 0.9 * m + 0.1 * gradient, 0.98 * v + 0.02 * gradient**2
            w -= rate * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.98**t)) + 1e-8)
        assert ours.item() == pytest.approx(w, rel=1e-5)  # float32, about ten operations


def test_gradients_are_clipped_together():
    model = nn.Linear(3, 2)
    x, norms = torch.randn(5, 3), []

    def look(optimizer, args, kwargs):
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())

    hook = register_optimizer_step_pre_hook(look)
    for clip in (0.5, None):
        train(model, target, lambda m, b: 100 * m(x).square().mean(), TrainConfig(1, max_grad_norm=clip))
    hook.remove()
    assert norms[0] == pytest.approx(0.5, rel=1e-4)  # torch adds 1e-6 to the norm that it divides by
    assert norms[1] > 5


def test_gradients_from_before_do_not_count():
    fresh, used = Scalar(1.0), Scalar(1.0)
    used.w.grad = torch.tensor([1000.0])
    for model in (fresh, used):
        train(model, target, squared, TrainConfig(3, max_grad_norm=None))
    assert torch.equal(fresh.w, used.w)


def test_only_what_is_trainable_is_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    before = [p.clone() for p in model[0].parameters()]
    train(model, target, lambda m, b: m(torch.ones(1, 2)).sum() ** 2, TrainConfig(3, weight_decay=0.1))
    assert all(torch.equal(a, b) for a, b in zip(before, model[0].parameters(), strict=True))
    decays = [
        (group["weight_decay"], len(group["params"]))
        for group in build_optimizers(model, TrainConfig(1, weight_decay=0.1))[0].param_groups
    ]
    assert decays == [(0.1, 1), (0.0, 1)]  # the matrix, and the bias


def test_batches_depend_on_the_seed_alone():
    def drawn(model, seed):
        seen = []

        def loss(model, batch):
            seen.append(batch.item())
            torch.randn(int(model.w.item()) + 1)  # a model that draws numbers of its own
            return squared(model, batch)

        torch.seed()  # anything
        train(model, target, loss, TrainConfig(5, seed=seed))
        return seen

    assert drawn(Scalar(), 3) == drawn(Scalar(5.0), 3)
    assert drawn(Scalar(), 3) != drawn(Scalar(), 4)
    assert len(set(drawn(Scalar(), 3))) == 5


def windows(generator):
    """A language in which every token is one more than the token before."""
    return (torch.randint(7, (16, 1), generator=generator) + torch.arange(9)) % 7


@pytest.mark.parametrize("position", CHOICES["position"])
def test_a_small_gpt_learns_to_count_and_does_so_again(position):
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2, position=position))
        losses.append(train(model, windows, next_token_loss, TrainConfig(150, lr=1e-2, warmup_steps=10)).loss)
    assert losses[0] == losses[1]  # to the bit
    assert losses[0][0] == pytest.approx(math.log(7), abs=0.5)
    assert losses[0][-1] < 0.1


def test_next_token_is_the_mean_surprise():
    model = GPT(GPTConfig(5, context=8, d_model=8, n_layers=1, n_heads=2))
    ids = torch.tensor([[1, 2, 3], [4, 0, 2]])
    surprise = -model(ids[:, :-1]).log_softmax(-1)
    by_hand = [surprise[0, 0, 2], surprise[0, 1, 3], surprise[1, 0, 0], surprise[1, 1, 2]]
    assert_close(next_token_loss(model, ids).mean, torch.stack(by_hand).mean())


@pytest.mark.parametrize(
    "bad",
    [
        lambda w: (w * math.nan).sum(),
        lambda w: (w * math.inf).sum(),
        lambda w: w.sum() + math.inf,  # slope 1
        lambda w: ((w - w.detach()) * 1e-30).sqrt().sum(),  # loss 0, slope infinite
    ],
)
def test_a_bad_number_stops_the_run_before_it_reaches_the_weights(bad):
    model, calls = Scalar(), []

    def loss(model, batch):
        calls.append(model.w.item())
        return bad(model.w) if len(calls) == 4 else squared(model, batch)

    with pytest.raises(TrainingDiverged, match=r"demo: at step 3 .*learning rate") as caught:
        train(model, target, loss, TrainConfig(10), label="demo")
    assert math.isfinite(model.w.item())
    assert model.w.item() == calls[3]
    assert caught.value.history.step == [0, 1, 2]


def test_a_run_that_ends_in_its_warm_up_says_so(capsys):
    train(Scalar(), target, squared, TrainConfig(20), label="demo")
    assert capsys.readouterr().out == (
        "demo: the warm-up takes 50 steps and the run ends after 20, so the rate never reaches lr=0.001; "
        "lower warmup_steps.\n"
    )
    history = train(Scalar(), target, squared, TrainConfig(20, lr=0.1, warmup_steps=20))
    assert history.lr[-1] == 0.1  # the peak at the last step
    assert capsys.readouterr().out == ""


def test_the_metrics_of_a_loss_are_means_over_the_batches_of_a_step(tmp_path):
    counted = []

    def loss(model, batch):
        counted.append(1)
        slope = model.w.sum()
        return Loss(slope, len(counted), {"calls": torch.tensor(float(len(counted))), "slope": slope})

    config = TrainConfig(3, lr=0.1, warmup_steps=0, gradient_accumulation_steps=2)
    history = train(Scalar(2.0), target, loss, config, folder=RunFolder(tmp_path))
    assert history.metrics["calls"] == [1.5, 3.5, 5.5]
    assert history.metrics["slope"][0] == 2.0
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [{name: line[name] for name in history.metrics} for line in lines] == [
        dict(zip(history.metrics, step, strict=True)) for step in zip(*history.metrics.values(), strict=True)
    ]
    again = train(Scalar(), target, loss, config, folder=RunFolder(tmp_path, resume=True))
    assert again.metrics == history.metrics


def test_metrics_that_would_hide_another_are_refused(tmp_path):
    def loss(model, batch):
        return Loss(model.w.sum(), 1, {"lr": torch.ones(()), "mine": torch.ones(())})

    with pytest.raises(ValueError, match="the loss gives lr, as the steps do; choose another name"):
        train(Scalar(), target, loss, TrainConfig(1))

    def other_loss(model, batch):
        return Loss(model.w.sum(), 1, {"mine": torch.ones(())})

    with pytest.raises(ValueError, match="validate gives mine, as the steps do"):
        train(Scalar(), target, other_loss, TrainConfig(1), folder=RunFolder(tmp_path), validate=lambda: {"mine": 1.0})


def test_metrics_change_nothing():
    def loss(model, batch, **metrics):
        return Loss(squared(model, batch), 1, {"w": model.w.sum() / 3} if metrics else None)

    plain, measured = Scalar(), Scalar()
    histories = [
        train(plain, target, loss, TrainConfig(60)),
        train(measured, target, partial(loss, w=1), TrainConfig(60)),
    ]
    assert torch.equal(plain.w, measured.w)
    assert histories[0].loss == histories[1].loss
    assert not histories[0].metrics


def test_a_bad_number_at_the_very_start_blames_the_model_or_the_data():
    with pytest.raises(TrainingDiverged, match="look at the model and the data"):
        train(Scalar(), target, lambda m, b: m.w.sum() * math.nan, TrainConfig(5))


def test_an_interrupt_goes_on_to_the_caller_who_must_not_measure_half_a_run(capsys):
    model, calls = Scalar(), []

    def batch(generator):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return target(generator)

    with pytest.raises(KeyboardInterrupt):
        train(model, batch, squared, TrainConfig(100, lr=0.1), label="demo")
    assert model.w.item() != 0
    assert "demo: stopped after 5 of 100 steps" in capsys.readouterr().out


def test_freed_memory_is_kept(monkeypatch):
    asked = []
    monkeypatch.setattr("course_lib.train.loop.keep_freed_memory", lambda: asked.append(True))
    train(Scalar(), target, squared, TrainConfig(1))
    assert asked == [True]


def test_configs_that_cannot_run_are_refused():
    with pytest.raises(ValueError, match='schedule="linear" is not supported'):
        TrainConfig(10, schedule="linear")
    for settings, sentence in (
        ({"steps": 0}, "steps=0 must be a whole number, at least 1"),
        ({"steps": 10.5}, "steps=10.5 must be a whole number"),
        ({"gradient_accumulation_steps": 1.5}, "gradient_accumulation_steps=1.5 must be a whole number"),
        ({"warmup_steps": -3}, "warmup_steps=-3 must be a whole number, at least 0"),
        ({"seed": "a"}, "seed='a' must be a whole number"),
        ({"lr": 0.0}, "lr=0.0 must be a number above 0"),
        ({"lr": math.nan}, "lr=nan must be a number above 0"),
        ({"lr": math.inf}, "lr=inf must be a number above 0"),
        ({"max_grad_norm": -1}, "max_grad_norm=-1 must be a number above 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm=0.0 must be a number above 0"),
        ({"weight_decay": -1}, "weight_decay=-1 must be a number at least 0"),
        ({"min_lr_ratio": 3}, "min_lr_ratio=3 must be a number at least 0, at most 1"),
        ({"decay_ratio": 0}, "decay_ratio=0 must be a number above 0, at most 1"),
        ({"betas": (0.9, 1.0)}, "betas=.* must be two numbers from 0 on, below 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            TrainConfig(**{"steps": 10} | settings)
    TrainConfig(1, max_grad_norm=None, weight_decay=0, min_lr_ratio=0)
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        train(nn.Identity(), windows, next_token_loss, TrainConfig(1))


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_all_else():
    model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2))
    muon, adamw = build_optimizers(model, TrainConfig(1, optimizer="muon", weight_decay=0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert taken == {
        f"blocks.0.{part}.weight" for part in ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")
    }
    others = [names[id(p)] for group in adamw.param_groups for p in group["params"]]
    assert sorted([*others, *taken]) == sorted(names.values())


def test_muon_leaves_the_routers_and_the_experts_to_adamw():
    experts = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False, "n_experts": 4}
    model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2, d_shared=8, shared_gate=True, **experts))
    names = {id(p): name for name, p in model.named_parameters()}
    muon, _ = build_optimizers(model, TrainConfig(1, optimizer="muon"))
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    attention = {f"blocks.0.attention.{part}.weight" for part in ("qkv", "out")}
    assert taken == attention | {f"blocks.0.feed_forward.shared.{part}.weight" for part in ("gate", "up", "down")}


def test_muon_takes_both_matrices_of_lora():
    model = add_lora(GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2)), rank=2, alpha=4)
    [muon] = build_optimizers(model, TrainConfig(1, optimizer="muon"))
    assert sorted(p.shape for group in muon.param_groups for p in group["params"]) == [(2, 16)] * 2 + [(16, 2)] * 2


def test_muons_step_is_a_rotation():
    """The update of a matrix has all singular values alike, near 0.2 sqrt(larger side) times the rate."""
    model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(32, 16, bias=False)])})
    before = model["blocks"][0].weight.detach().clone()
    x, y = torch.randn(64, 32), torch.randn(64, 16)

    def loss(model, batch):
        return (model["blocks"][0](x) - y).square().mean()

    train(model, target, loss, TrainConfig(1, lr=0.01, warmup_steps=0, optimizer="muon", schedule="constant"))
    singular = torch.linalg.svdvals(before - model["blocks"][0].weight)
    # Five Newton-Schulz steps in bfloat16 bring every singular value to between about 0.7 and 1.2.
    assert (singular / (0.01 * 0.2 * 32**0.5)).min() > 0.6
    assert (singular / (0.01 * 0.2 * 32**0.5)).max() < 1.3


def test_adamws_update_is_that_of_torch():
    """Over 20 updates: each rounds a few times, and moves a number by about the rate."""
    parameter, betas = torch.randn(5, 3), (0.9, 0.95)
    theirs = nn.Parameter(parameter.clone())
    optimizer = torch.optim.AdamW([theirs], lr=0.03, betas=betas, weight_decay=0.1)
    mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
    for step in range(1, 21):
        theirs.grad = torch.randn(5, 3) * 10 ** torch.randn(())
        adamw_update(parameter, theirs.grad, mean, square, step, 0.03, betas, weight_decay=0.1)
        optimizer.step()
    torch.testing.assert_close(parameter, theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("muon", [torch.optim.Muon, CPUMuon])
@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (8, 8)])
def test_muons_update_is_that_of_torch(monkeypatch, shape, muon):
    """In float32: bfloat16's roundings come in another order. Five polynomials make a rounding 3.44^5 times larger."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    matrix = torch.randn(shape)
    theirs = nn.Parameter(matrix.clone())
    other = nn.Parameter(torch.randn(shape))  # CPUMuon takes matrices of a shape together
    optimizer = muon([other, theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    mean = torch.zeros_like(matrix)
    for _ in range(5):
        theirs.grad, other.grad = torch.randn(shape), torch.randn(shape)
        muon_update(matrix, theirs.grad, mean, 0.1, weight_decay=0.1)
        optimizer.step()
    torch.testing.assert_close(matrix, theirs.detach(), rtol=0, atol=3.44**5 * 1e-7)


def test_orthogonalized_singular_values_are_near_one_and_the_vectors_stay():
    u, s, v = torch.linalg.svd(torch.randn(6, 9, dtype=torch.float64), full_matrices=False)
    found = u.T @ orthogonalize(u @ s.diag() @ v) @ v.T
    assert found.diagonal().min() > 0.65
    assert found.diagonal().max() < 1.25
    assert (found - found.diagonal().diag()).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_zero_stays_zero_when_orthogonalized(dtype):
    assert torch.equal(orthogonalize(torch.zeros(3, 5, dtype=dtype)), torch.zeros(3, 5, dtype=dtype))


def test_tiny_singular_values_stay_small_when_orthogonalized():
    found = orthogonalize(torch.diag(torch.tensor([1.0, 1e-4], dtype=torch.float64)))
    assert found[0, 0] > 0.65
    assert 0 < found[1, 1] < 1e-4 * 3.4445**5


def test_precision_is_measured_before_it_is_chosen(monkeypatch):
    cpu = torch.device("cpu")
    assert bf16_speedup(cpu, 64) > 0
    for ratio, expected in ((1.2, "fp32"), (1.4, "bf16")):
        monkeypatch.setattr("course_lib.train.precision.bf16_speedup", lambda device, ratio=ratio: ratio)
        assert choose_precision("auto", cpu) == expected
        assert choose_precision("fp32", cpu) == "fp32"
        assert choose_precision("bf16", cpu) == "bf16"


def test_bf16_computes_in_bf16_and_keeps_weights_and_losses_in_float32():
    model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2))
    seen = []
    model.blocks[0].attention.qkv.register_forward_hook(lambda m, a, output: seen.append(output.dtype))
    with autocast("bf16", torch.device("cpu")):
        loss = next_token_loss(model, windows(torch.Generator()))
    assert seen == [torch.bfloat16]
    assert loss.total.dtype == torch.float32
    history = train(model, windows, next_token_loss, TrainConfig(150, lr=1e-2, warmup_steps=10, precision="bf16"))
    assert history.loss[-1] < 0.1
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_where_compiling_fails_one_warning_says_so_and_the_run_goes_on(monkeypatch):
    def broken(objective):
        def call(*args):
            objective(*args).mean.backward()  # and leaves half a gradient
            raise RuntimeError("no compiler here\nand a long story")

        return call

    results = []
    for compiling in (False, True):
        torch.manual_seed(0)
        model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2))
        if compiling:
            monkeypatch.setattr(torch, "compile", broken)
            with pytest.warns(UserWarning, match=r"does not work here, .*\(no compiler here\)") as warned:
                results.append(train(model, windows, next_token_loss, TrainConfig(5, compile=True)).loss)
            assert len(warned) == 1
        else:
            results.append(train(model, windows, next_token_loss, TrainConfig(5)).loss)
    assert results[0] == results[1]  # the failed attempt left nothing behind


COMPILED = """
import torch, pytest
from test_train import *
losses = []
for compiling in (False, True):
    torch.manual_seed(0)
    model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2))
    losses.append(train(model, windows, next_token_loss, TrainConfig(5, compile=compiling)).loss)
assert losses[1] == pytest.approx(losses[0], rel=1e-4), losses
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # the model and its loss in one
"""


def test_compiled_is_eager_but_for_rounding():
    """In a process of its own, since torch cannot compile functions whose shapes are checked at every call.

    Without vector instructions: to find out which work here, torch compiles a program for each, as long as the model.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", COMPILED],
        env={**os.environ, "TORCHINDUCTOR_VEC_ISA_OK": "0"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
