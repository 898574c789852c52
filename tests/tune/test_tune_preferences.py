"""Reward models and DPO: what comparisons teach, against closed forms and the definitions written out."""

import itertools
import math
from functools import partial

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny import END, distribution, gpt, replies
from torch.testing import assert_close

from course_lib.data.loading.loader import Loader
from course_lib.interop import to_hf
from course_lib.train import TrainConfig, train
from course_lib.tune import reward
from course_lib.tune.completions import completion_examples
from course_lib.tune.dpo import IterativeBatches, dpo_loss, implicit_rewards, sample_preferences, with_ref_logprobs
from course_lib.tune.reward import RewardModel, bradley_terry_loss, margin_metrics, preference_examples

REWARDS = st.floats(-30, 30)
LLAMA = {
    "position": "rope",
    "norm": "rms",
    "activation": "swiglu",
    "bias": False,
    "tie_embeddings": False,
    "n_kv_heads": 1,
}


@given(REWARDS, REWARDS, REWARDS)
def test_bradley_terry(one, other, shift):
    """Minus the logarithm of exp(r1) / (exp(r1) + exp(r2)); only the difference counts; the two chances make 1."""
    r1, r2 = torch.tensor([[one], [other]], dtype=torch.float64)
    loss = bradley_terry_loss(r1, r2)
    assert_close(loss, torch.logaddexp(r1, r2) - r1, rtol=1e-12, atol=1e-12)
    assert_close(bradley_terry_loss(r1 + shift, r2 + shift), loss, rtol=1e-12, atol=1e-12)  # 60 + 60 rounds to 1e-14
    assert_close((-loss).exp() + (-bradley_terry_loss(r2, r1)).exp(), torch.ones_like(loss), rtol=1e-12, atol=0)


def test_equal_rewards_are_a_coin():
    same = torch.tensor([3.0, -2.0])
    assert_close(bradley_terry_loss(same, same), torch.full((2,), math.log(2)))
    assert margin_metrics(same, same) == {"reward_margin": 0.0, "reward_accuracy": 0.5}


@pytest.mark.parametrize(("won", "lost"), [(3, 1), (7, 9), (1, 1)])
def test_the_best_margin_is_the_log_odds(won, lost):
    margin = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(50):  # Newton's method: second derivative sigma (1 - sigma) a comparison
        loss = won * bradley_terry_loss(margin, torch.zeros_like(margin)) + lost * bradley_terry_loss(
            -margin, 0 * margin
        )
        (gradient,) = torch.autograd.grad(loss.sum(), margin)
        p = margin.detach().sigmoid()
        margin.data -= gradient / ((won + lost) * p * (1 - p))
    assert margin.item() == pytest.approx(math.log(won / lost), abs=1e-9)


@pytest.mark.parametrize("style", [{}, LLAMA], ids=["gpt2", "llama"])
def test_rewards_are_those_of_transformers(style, tmp_path):
    """From the same weights, its classifier of texts with one class says the same; both look at the last token."""
    model = RewardModel(gpt(**style)).eval()
    to_hf(model.body, tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=1)
    theirs.score.weight.data = model.score.weight.data
    theirs.config.pad_token_id = END
    texts = completion_examples([[0], [1, 2, 0], [2, 2]], [[1, 2], [0, 1], [2]]).all()
    lengths = torch.tensor([3, 5, 3])
    seen = torch.arange(5) < lengths[:, None]
    with torch.no_grad():
        expected = theirs(texts.ids.masked_fill(~seen, END), attention_mask=seen.long()).logits[:, 0]
        assert_close(model(texts), expected)


def test_a_reward_is_of_one_text_alone():
    model = RewardModel(gpt()).double()
    texts = completion_examples([[0], [1, 2, 0]], [[1, 2], [0, 1]]).all()
    alone = torch.cat([model(completion_examples([p], [r]).all()) for p, r in (([0], [1, 2]), ([1, 2, 0], [0, 1]))])
    assert_close(model(texts), alone, rtol=1e-12, atol=1e-12)
    assert_close(model.scores(texts.ids)[0, 2], alone[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("style", [{}, LLAMA], ids=["gpt2", "llama"])
def test_rewards_keep_their_precision_under_autocast(style):
    """They are numbers that bfloat16 could not hold: differences between rewards are what counts, and may be small."""
    every = torch.cartesian_prod(*[torch.arange(4)] * 4).tolist()
    with torch.autocast("cpu", torch.bfloat16):
        of_autocast = RewardModel(gpt(**style))(completion_examples([[0]] * 256, every).all())
    of_weights = RewardModel(gpt(**style).bfloat16())(completion_examples([[0]] * 256, every).all())
    for rewards in (of_autocast, of_weights):
        assert rewards.dtype == torch.float32
        assert (rewards != rewards.bfloat16().float()).float().mean() > 0.9


def test_a_reward_model_begins_with_small_rewards_and_trains_what_it_uses():
    """1 / (d_model + 1) is the variance of the new weights, within five standard errors; an output layer idles."""
    torch.manual_seed(0)
    n = 4096
    weight = RewardModel(gpt(d_model=n, n_layers=1, d_ff=1, n_heads=64, n_kv_heads=1, head_dim=2)).score.weight
    assert abs(weight.var().item() * (n + 1) - 1) < 5 * math.sqrt(2 / n)
    for style in ({}, LLAMA):
        model = RewardModel(gpt(**style))
        model(completion_examples([[0]], [[1]]).all()).sum().backward()
        assert {name for name, p in model.named_parameters() if p.requires_grad} == {
            name for name, p in model.named_parameters() if p.grad is not None
        }


# Replies of one token, of which the one of weight w is preferred to that of weight v in w of w + v comparisons.
WEIGHTS = (1, 2, 4, 3)
CHOSEN, REJECTED = zip(
    *(([i], [j]) for i, j in itertools.permutations(range(4), 2) for _ in range(WEIGHTS[i])), strict=True
)


def test_a_reward_model_finds_the_weights():
    """The best rewards are the logarithms of the weights, up to one number for all."""
    compared = preference_examples([[0]] * len(CHOSEN), CHOSEN, REJECTED)
    model = RewardModel(gpt())
    train(model, Loader(compared, len(compared)), reward.reward_loss, TrainConfig(200, lr=1e-2, warmup_steps=10))
    with torch.no_grad():
        found = model(completion_examples([[0]] * 4, [[i] for i in range(4)]).all())
    expected = torch.tensor(WEIGHTS).log()
    assert_close(found - found.mean(), expected - expected.mean(), rtol=0, atol=1e-5)


def test_dpo_finds_the_best_policy():
    """pi(y) proportional to pi_ref(y) weight(y)^(1 / beta), exactly: Rafailov et al. 2023, equation 4."""
    beta, policy, every = 0.5, gpt(), [(i,) for i in range(4)]
    start = distribution(policy, [0], every)
    compared = with_ref_logprobs(preference_examples([[0]] * len(CHOSEN), CHOSEN, REJECTED), policy)
    train(
        policy,
        Loader(compared, len(compared)),
        partial(dpo_loss, beta=beta),
        TrainConfig(200, lr=1e-2, warmup_steps=10),
    )
    best = start * torch.tensor(WEIGHTS) ** (1 / beta)
    assert_close(distribution(policy, [0], every), best / best.sum(), rtol=0, atol=1e-5)
    assert (best / best.sum() - start).abs().max() > 0.2


def test_dpo_of_replies_of_several_tokens_finds_the_best_policy():
    """The same for all replies of at most two tokens, ended or cut off."""
    policy, every, beta = gpt(d_model=32), replies(2), 1.0
    weights = [1 + (7 * i) % 5 for i in range(len(every))]
    start = distribution(policy, [0], every)
    chosen, rejected = zip(
        *((a, b) for (a, w), (b, _) in itertools.permutations(zip(every, weights, strict=True), 2) for _ in range(w)),
        strict=True,
    )
    compared = with_ref_logprobs(preference_examples([[0]] * len(chosen), chosen, rejected), policy)
    train(
        policy,
        Loader(compared, len(compared)),
        partial(dpo_loss, beta=beta),
        TrainConfig(150, lr=1e-2, warmup_steps=10),
    )
    best = start * torch.tensor(weights)
    assert_close(distribution(policy, [0], every), best / best.sum(), rtol=0, atol=1e-4)
    assert (best / best.sum() - start).abs().max() > 0.1


PROMPTS = [[0], [1, 2], [2, 0, 1]]
CHOSEN_OF, REJECTED_OF = [[1], [0, 0], [2, 1, 1]], [[2, 2], [1], [0]]
COMPARED = preference_examples(PROMPTS, CHOSEN_OF, REJECTED_OF, END)


def test_at_the_reference_dpo_is_a_coin():
    model = gpt()
    batch = with_ref_logprobs(COMPARED, model, batch_size=2)[torch.arange(3)]
    assert dpo_loss(model, batch).mean.item() == pytest.approx(math.log(2), abs=1e-6)
    chosen, rejected = implicit_rewards(model, batch, 0.1)
    assert_close(chosen, torch.zeros(3), rtol=0, atol=1e-6)
    assert_close(rejected, torch.zeros(3), rtol=0, atol=1e-6)


def log_p(model, prompt, reply):
    """Token by token, each text alone."""
    ids = torch.tensor([[*prompt, *reply]])
    logs = model(ids[:, :-1])[0].log_softmax(1)
    return sum(logs[len(prompt) - 1 + i, token] for i, token in enumerate(reply))


@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_dpo_is_its_definition(beta):
    """Loss and gradient of equation 7, and the gradient as the paper writes it below: three ways, one number."""
    model, reference = gpt(0).double(), gpt(1).double()
    which = torch.tensor([2, 0])
    loss = dpo_loss(model, with_ref_logprobs(COMPARED, reference)[which], beta)
    loss.mean.backward()
    ours = [p.grad.clone() for p in model.parameters()]

    model.zero_grad()
    total, by_hand = 0, [torch.zeros_like(p) for p in model.parameters()]
    margins = []
    for i in which.tolist():
        yw, yl = ([*reply, END] for reply in (CHOSEN_OF[i], REJECTED_OF[i]))
        now_w, now_l = log_p(model, PROMPTS[i], yw), log_p(model, PROMPTS[i], yl)
        with torch.no_grad():
            then_w, then_l = log_p(reference, PROMPTS[i], yw), log_p(reference, PROMPTS[i], yl)
        total = total - torch.log(torch.sigmoid(beta * (now_w - then_w) - beta * (now_l - then_l))) / 2
        margins.append((beta * (now_w - then_w) - beta * (now_l - then_l)).item())
        wrong = torch.sigmoid(beta * (now_l - then_l) - beta * (now_w - then_w)).item()  # how wrong the rewards are
        gradients = torch.autograd.grad(now_w - now_l, list(model.parameters()), retain_graph=True)
        for sum_, gradient in zip(by_hand, gradients, strict=True):
            sum_ -= beta * wrong * gradient / 2
    assert_close(loss.mean, total, rtol=1e-10, atol=0)
    assert loss.metrics["reward_margin"].item() == pytest.approx(sum(margins) / 2, rel=1e-9)
    assert loss.metrics["reward_accuracy"].item() == sum(margin > 0 for margin in margins) / 2
    expected = torch.autograd.grad(total, list(model.parameters()))
    for found, one, other in zip(ours, expected, by_hand, strict=True):
        assert_close(found, one, rtol=1e-9, atol=1e-12)
        assert_close(found, other, rtol=1e-9, atol=1e-12)


def test_the_metrics_of_preferences_by_hand():
    chosen, rejected = torch.tensor([2.0, 1.0, 0.0, 5.0]), torch.tensor([1.0, 1.0, 2.0, 1.0])
    metrics = reward.margin_metrics(chosen, rejected)
    assert {name: value.item() for name, value in metrics.items()} == {
        "reward_margin": 0.75,  # of 1, 0, -2 and 4
        "reward_accuracy": 0.625,  # a tie is half right
    }


def test_dpo_without_reference_says_what_to_do():
    with pytest.raises(ValueError, match="no reference; pass them through with_ref_logprobs"):
        dpo_loss(gpt(), COMPARED[torch.arange(3)])


def world(held_out, shuffle=False):
    """Prompts of two symbols of eight; a reply is better when it repeats the first of them. A quarter is held out."""
    prompts = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    prompts = prompts[((prompts.sum(1) % 4 == 0) == held_out)].repeat_interleave(7, dim=0)
    wrong = (prompts[:, :1] + 1 + torch.arange(7).repeat(len(prompts) // 7)[:, None]) % 8
    both = torch.stack((prompts[:, :1], wrong))
    if shuffle:
        swap = torch.rand(len(prompts), 1, generator=torch.Generator().manual_seed(0)) < 0.5
        both = torch.where(swap, both.flip(0), both)
    return preference_examples(prompts.tolist(), *both.tolist())


@pytest.mark.parametrize("method", ["reward", "dpo"])
def test_preferences_carry_over_to_prompts_held_out(method):
    """The control learns from labels tossed by a coin, and on what is held out is no better than one."""
    config = TrainConfig(200, lr=1e-2, warmup_steps=10)
    found = {}
    for shuffle in (False, True):
        model = gpt(vocab_size=8, d_model=32)
        model, objective = (RewardModel(model), reward.reward_loss) if method == "reward" else (model, dpo_loss)
        learned, test = (
            part if method == "reward" else with_ref_logprobs(part, model)
            for part in (world(held_out=False, shuffle=shuffle), world(held_out=True))
        )
        train(model, Loader(learned, 64), objective, config)
        batch = test[torch.arange(len(test))]
        with torch.no_grad():
            rewards = model(batch.texts).chunk(2) if method == "reward" else implicit_rewards(model, batch, 0.1)
        found[shuffle] = {**margin_metrics(*rewards), "loss": bradley_terry_loss(*rewards).mean()}
    assert found[False]["reward_accuracy"] > 0.95
    assert found[False]["loss"] < 0.4
    assert found[False]["reward_margin"] > 0.5
    assert 0.3 < found[True]["reward_accuracy"] < 0.7
    assert found[True]["loss"] > math.log(2) - 0.02


def test_people_prefer_by_bradley_and_terry():
    """A reward of 1 for a completion that begins with token 0: pairs with two rewards go to it in 73% of the cases."""
    settings = {"max_new_tokens": 3, "eos_token_id": END, "n_annotators": 20}

    def reward_fn(texts):
        return (texts.ids[:, 2] == 0).float()

    generator = torch.Generator().manual_seed(0)
    pairs = sample_preferences(gpt(), [[0, 1]], reward_fn, 200, generator, **settings)
    assert len(pairs) == 20 * 200
    chosen, rejected = reward_fn(pairs.both.all()).view(2, -1)
    differ = chosen != rejected
    assert (chosen > rejected)[differ].float().mean().item() == pytest.approx(1 / (1 + math.exp(-1)), abs=0.05)


def test_iterative_batches_are_used_so_many_times_in_a_row():
    pairs, made = preference_examples([[0]] * 3, [[1]] * 3, [[2]] * 3), []

    def next_batch(turn, generator):
        made.append(pairs[torch.tensor([turn])])
        return made[-1]

    batches = IterativeBatches(next_batch, 3)
    seen = [batches(torch.Generator()) for _ in range(7)]
    assert len(made) == 3
    assert all(batch is made[i // 3] for i, batch in enumerate(seen))
    with pytest.raises(ValueError, match="times=0 must be at least 1"):
        IterativeBatches(next_batch, 0)


@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("done", range(8))
def test_iterative_batches_go_on_from_any_step(done, scored):
    """A second source that is given the state of the first returns what the first would have."""
    pairs = preference_examples([[0]] * 9, [[1], [1, 2], [2]] * 3, [[2]] * 9)
    if scored:
        pairs = with_ref_logprobs(pairs, gpt())

    def next_batch(turn, generator):
        return pairs[torch.randint(9, (2,), generator=generator) // (turn + 1)]

    generator = torch.Generator()
    first, second = IterativeBatches(next_batch, 3), IterativeBatches(next_batch, 3)
    for _ in range(done):
        first(generator)
    second.load_state_dict(first.state_dict())
    same = torch.Generator()
    same.set_state(generator.get_state())
    for _ in range(5):
        assert_close(second(same), first(generator), rtol=0, atol=0)
