"""The training loop: schedule, clipping, seeds, and what happens when a run goes wrong or is stopped."""

import math

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close

from course_lib.models import GPT, GPTConfig
from course_lib.train import TrainConfig, TrainingDiverged, next_token, train
from course_lib.train.loop import adamw, learning_rate


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
    config = TrainConfig(steps=110, lr=2.0, warmup=10, min_lr=0.1)
    assert [learning_rate(step, config) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert learning_rate(10, config) == pytest.approx(2.0)
    assert learning_rate(60, config) == pytest.approx(2.0 * (0.1 + 0.9 / 2))  # half way down the cosine
    assert learning_rate(110, config) == pytest.approx(0.2)
    rates = [learning_rate(step, config) for step in range(10, 111)]
    assert rates == sorted(rates, reverse=True)
    constant = TrainConfig(steps=110, lr=2.0, warmup=0, schedule="constant")
    assert {learning_rate(step, constant) for step in range(110)} == {2.0}


def test_it_finds_the_minimum_and_tells_the_story():
    model = Scalar().eval()
    history = train(model, target, squared, TrainConfig(steps=300, lr=0.1))
    assert model.training
    assert model.w.item() == pytest.approx(3, abs=0.01)
    assert history.step == list(range(300))
    assert history.loss[0] == 9.0
    assert history.loss[-1] < 1e-3
    assert history.lr == [learning_rate(step, TrainConfig(steps=300, lr=0.1)) for step in range(300)]
    assert history.cpu_seconds > 0
    assert not history.interrupted


def test_the_update_is_adamw():
    """The first two steps by the formula of Loshchilov and Hutter (2017), algorithm 2, in Python floats."""
    model = Scalar(1.0)
    model.matrix = nn.Parameter(torch.tensor([[2.0]]))
    config = TrainConfig(2, lr=0.1, warmup=2, weight_decay=0.5, betas=(0.9, 0.98), clip=None)
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
        train(model, target, lambda m, b: 100 * m(x).square().mean(), TrainConfig(1, clip=clip))
    hook.remove()
    assert norms[0] == pytest.approx(0.5, rel=1e-4)  # torch adds 1e-6 to the norm that it divides by
    assert norms[1] > 5


def test_gradients_from_before_do_not_count():
    fresh, used = Scalar(1.0), Scalar(1.0)
    used.w.grad = torch.tensor([1000.0])
    for model in (fresh, used):
        train(model, target, squared, TrainConfig(3, clip=None))
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
        for group in adamw(model.parameters(), TrainConfig(1, weight_decay=0.1)).param_groups
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


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "alibi", "t5", "none"])
def test_a_small_gpt_learns_to_count_and_does_so_again(position):
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        model = GPT(GPTConfig(7, context=8, d_model=16, n_layers=1, n_heads=2, position=position))
        losses.append(train(model, windows, next_token, TrainConfig(150, lr=1e-2, warmup=10)).loss)
    assert losses[0] == losses[1]  # to the bit
    assert losses[0][0] == pytest.approx(math.log(7), abs=0.5)
    assert losses[0][-1] < 0.1


def test_next_token_is_the_mean_surprise():
    model = GPT(GPTConfig(5, context=8, d_model=8, n_layers=1, n_heads=2))
    ids = torch.tensor([[1, 2, 3], [4, 0, 2]])
    surprise = -model(ids[:, :-1]).log_softmax(-1)
    by_hand = [surprise[0, 0, 2], surprise[0, 1, 3], surprise[1, 0, 0], surprise[1, 1, 2]]
    assert_close(next_token(model, ids), torch.stack(by_hand).mean())


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


def test_a_bad_number_at_the_very_start_blames_the_model_or_the_data():
    with pytest.raises(TrainingDiverged, match="look at the model and the data"):
        train(Scalar(), target, lambda m, b: m.w.sum() * math.nan, TrainConfig(5))


def test_an_interrupt_keeps_what_was_learned(capsys):
    model, calls = Scalar(), []

    def batch(generator):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return target(generator)

    history = train(model, batch, squared, TrainConfig(100, lr=0.1), label="demo")
    assert history.interrupted
    assert history.step == [0, 1, 2, 3, 4]
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
    with pytest.raises(ValueError, match=r"steps \(0\) must be at least 1"):
        TrainConfig(0)
