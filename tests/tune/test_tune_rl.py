"""PPO, GRPO and the rollouts they learn from: against naive loops and enumeration, and what they learn."""

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import END, distribution, gpt, replies
from torch.testing import assert_close

from course_lib.data.loading.loader import Loader
from course_lib.models import GPT, GPTConfig
from course_lib.train import TrainConfig, train
from course_lib.train.config import CHOICES
from course_lib.tune import grpo, kl, ppo
from course_lib.tune.completions import completion_examples, completion_logprobs
from course_lib.tune.reward import RewardModel, preference_examples, reward_loss
from course_lib.tune.rollout import Experience, RolloutBuffer, frozen_copy, sample_completions

EXACT = {"rtol": 1e-9, "atol": 1e-12}  # float64, some dozens of operations
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**31))


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def masks(rows, places, seed):
    """In each row one run of at least one place, as a reply is."""
    generator = torch.Generator().manual_seed(seed)
    begin = torch.randint(places, (rows, 1), generator=generator)
    end = begin + 1 + (torch.rand(rows, 1, generator=generator) * (places - begin)).long()
    return (torch.arange(places) >= begin) & (torch.arange(places) < end)


def experience(seed=0, **changes):
    """Replies of random models in float64, with advantages and returns at random."""
    texts = completion_examples([[0], [1, 2], [2, 0, 1]], [[1, END], [0], [2, 1, END]]).all()
    shape = texts.targets.shape
    with torch.no_grad():
        made = {
            "rewards": numbers(3, seed=seed),
            "old_logprobs": completion_logprobs(gpt(1).double(), texts),
            "ref_logprobs": completion_logprobs(gpt(2).double(), texts),
            "advantages": numbers(*shape, seed=seed + 1),
            "returns": numbers(*shape, seed=seed + 2),
        }
    return Experience(*texts, **(made | changes))


# --- the parts ---------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SIZES, st.floats(0, 1), st.floats(0, 1))
def test_gae_is_its_double_sum(sizes, gamma, lam):
    rows, places, seed = sizes
    mask, rewards, values = (
        masks(rows, places, seed),
        numbers(rows, places, seed=1),
        numbers(rows, places, seed=2),
    )
    found = ppo.gae(rewards, values, mask, gamma, lam)
    for row in range(rows):
        inside = [t for t in range(places) if mask[row, t]]
        for t in range(places):
            expected = 0.0
            for later in inside:
                if t in inside and later >= t:
                    after = values[row, later + 1].item() if later + 1 in inside else 0.0
                    delta = rewards[row, later].item() + gamma * after - values[row, later].item()
                    expected += (gamma * lam) ** (later - t) * delta
            assert found[row, t].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_gae_at_its_two_ends():
    """lam = 1: the rewards to come, less the value; lam = 0: one step ahead."""
    mask = torch.ones(1, 3, dtype=torch.bool)
    rewards, values = torch.tensor([[1.0, 0.0, 5.0]]), torch.tensor([[2.0, 3.0, 4.0]])
    assert ppo.gae(rewards, values, mask, 1.0, 1.0).tolist() == [[4.0, 2.0, 1.0]]
    assert ppo.gae(rewards, values, mask, 1.0, 0.0).tolist() == [[2.0, 1.0, 1.0]]


def test_a_reward_for_every_token_sums_to_that_of_the_reply():
    made = experience()
    mask = made.completion_mask[:, 1:]
    rewards = ppo.kl_penalised_rewards(made.rewards, made.old_logprobs, made.ref_logprobs, mask, beta=0.3)
    assert_close(rewards.sum(1), made.rewards - 0.3 * (made.old_logprobs.sum(1) - made.ref_logprobs.sum(1)), **EXACT)
    assert (rewards[~mask] == 0).all()
    free = ppo.kl_penalised_rewards(made.rewards, made.old_logprobs, made.ref_logprobs, mask, beta=0.0)
    assert [row.nonzero()[:, 0].tolist() for row in free] == [[1], [1], [4]]  # where the last token is predicted


def test_whitened_where_it_counts():
    mask = masks(4, 6, seed=3)
    found = ppo.masked_whiten(5 + 3 * numbers(4, 6), mask)
    assert found[mask].mean().item() == pytest.approx(0, abs=1e-12)
    assert found[mask].std(correction=0).item() == pytest.approx(1, abs=1e-7)  # 1e-8 is added to it
    assert (found[~mask] == 0).all()


@pytest.mark.parametrize("entropy", [0.0, 0.3])
def test_ppo_is_its_loop_over_tokens(entropy):
    """Equation 9 for each token of each reply, with Python's own min, max and exp."""
    batch, clip = experience(), 0.1
    model = ppo.ActorCritic(gpt(3).double(), RewardModel(gpt(4).double()))
    logits, values = model(batch.texts)
    total, count, cut = 0.0, 0, 0
    for row, places in enumerate(batch.completion_mask[:, 1:].tolist()):
        for t, counts in enumerate(places):
            if not counts:
                continue
            logs = logits[row, t].log_softmax(0)
            ratio = math.exp(logs[batch.ids[row, t + 1]].item() - batch.old_logprobs[row, t].item())
            advantage = batch.advantages[row, t].item()
            bounded = max(1 - clip, min(1 + clip, ratio))
            cut += bounded * advantage < ratio * advantage
            total += min(ratio * advantage, bounded * advantage)
            total -= 0.5 * (values[row, t].item() - batch.returns[row, t].item()) ** 2
            total += entropy * -sum(p * math.log(p) for p in logs.exp().tolist())
            count += 1
    loss = ppo.ppo_loss(model, batch, clip, value_coef=0.5, entropy_coef=entropy)
    assert loss.n_targets == count == 6
    assert 0 < cut < 6
    assert loss.mean.item() == pytest.approx(-total / count, rel=1e-9)


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_nothing_is_gained_beyond_the_clip(advantage):
    """Its gradient is that of the ratio, but 0 once the ratio is out in the direction that the advantage asks for."""
    ratios = torch.tensor([[0.5, 0.7, 0.9, 1.1, 1.3, 1.5]], dtype=torch.float64)
    new = ratios.log().requires_grad_()
    ppo.clipped_surrogate(new, torch.zeros_like(new), torch.full_like(new, advantage), 0.2).sum().backward()
    out = ratios > 1.2 if advantage > 0 else ratios < 0.8
    assert_close(new.grad, (advantage * ratios).masked_fill(out, 0), **EXACT)


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_at_ratio_one_the_gradient_is_the_policy_gradient(method):
    """The mean of A grad log pi (Williams 1992), whatever the clip: over tokens; over the tokens of replies."""
    policy = gpt(3).double()
    batch = experience()
    with torch.no_grad():
        batch = batch._replace(old_logprobs=completion_logprobs(policy, batch.texts))
    mask = batch.completion_mask[:, 1:]
    if method == "ppo":
        share = mask.double() / mask.sum()
        loss = ppo.ppo_loss(ppo.ActorCritic(policy, RewardModel(gpt(4).double())), batch, value_coef=0.0).mean
    else:
        share = mask.double() / mask.sum(1, keepdim=True) / len(mask)
        loss = grpo.grpo_loss(policy, batch, beta=0.0).mean
    found = torch.autograd.grad(loss, list(policy.parameters()))
    surrogate = -(completion_logprobs(policy, batch.texts) * batch.advantages * share).sum()
    for ours, expected in zip(found, torch.autograd.grad(surrogate, list(policy.parameters())), strict=True):
        assert_close(ours, expected, **EXACT)


def test_advantages_in_a_group():
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 5.0, 1.0, 1.0, 1.0])
    third = 1 / math.sqrt(3)
    expected = [1, -1, -1, 1, 3 * third, -third, -third, -third]
    assert grpo.group_advantages(rewards, 4).tolist() == pytest.approx(expected)
    assert grpo.group_advantages(rewards, 4, scale_by_std=False).tolist() == [0.5, -0.5, -0.5, 0.5, 3, -1, -1, -1]
    with pytest.raises(ValueError, match="8 rewards do not make groups of 3"):
        grpo.group_advantages(rewards, 3)


@given(st.floats(-1e3, 1e3, width=32), st.integers(1, 9), st.booleans())
def test_a_group_of_equals_teaches_nothing(reward_loss, group, scale_by_std):
    """0, to the bit: neither 0 / 0, nor a rounding error of the mean made large."""
    rounding = 1 + torch.linspace(-1e-7, 1e-7, 2 * group)  # as where a reward is a sum in another order
    found = grpo.group_advantages(torch.full((2 * group,), reward_loss) * rounding, group, scale_by_std)
    assert (found == 0).all()


@given(SIZES)
def test_advantages_are_centred_and_of_one_size(sizes):
    n, group, seed = sizes
    found = grpo.group_advantages(numbers(n * (group + 1), seed=seed), group + 1).view(n, -1)
    assert_close(found.mean(1), torch.zeros(n, dtype=torch.float64), rtol=0, atol=1e-9)
    assert_close(found.square().mean(1), torch.ones(n, dtype=torch.float64), rtol=1e-9, atol=0)


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_negative(new, reference):
    assert kl.k3(torch.tensor(new, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)) >= -1e-15


def test_k3_is_the_divergence_and_k2_has_its_gradient():
    """By enumeration of five tokens: the mean of k3 is KL(pi, ref), its gradient that of KL(ref, pi); k2's is right."""
    logits = numbers(5, seed=1).requires_grad_()
    new, reference = logits.log_softmax(0), numbers(5, seed=2).log_softmax(0)
    pi = new.exp().detach()
    forward, backward = (reference.exp() * (reference - new)).sum(), (new.exp() * (new - reference)).sum()

    def gradient(of):
        return torch.autograd.grad(of, logits, retain_graph=True)[0]

    assert_close((pi * kl.k3(new, reference)).sum(), backward, **EXACT)
    assert_close(gradient((pi * kl.k3(new, reference)).sum()), gradient(forward), **EXACT)
    assert_close(gradient((pi * kl.k2(new, reference)).sum()), gradient(backward), **EXACT)
    assert (gradient(forward) - gradient(backward)).abs().max() > 0.1


@pytest.mark.parametrize("length", [None, 7])
def test_grpo_is_its_loop_over_replies(length):
    """Equation 3 for each token of each reply; with a length, that of Dr. GRPO."""
    batch, policy, clip, beta = experience(), gpt(3).double(), 0.1, 0.2
    logits = policy(batch.ids[:, :-1])
    objective = 0.0
    for row, places in enumerate(batch.completion_mask[:, 1:].tolist()):
        tokens = [t for t, counts in enumerate(places) if counts]
        of_reply = 0.0
        for t in tokens:
            log = logits[row, t].log_softmax(0)[batch.ids[row, t + 1]].item()
            ratio, advantage = math.exp(log - batch.old_logprobs[row, t].item()), batch.advantages[row, t].item()
            of_reply += min(ratio * advantage, max(1 - clip, min(1 + clip, ratio)) * advantage)
            to_reference = math.exp(batch.ref_logprobs[row, t].item() - log)
            of_reply -= beta * (to_reference - math.log(to_reference) - 1)
        objective += of_reply / (length or len(tokens)) / len(batch.ids)
    loss = grpo.grpo_loss(policy, batch, clip, beta, fixed_length=length).mean.item()
    assert loss == pytest.approx(-objective, rel=1e-9)
    with pytest.raises(ValueError, match="fixed_length=0 must be at least 1, or None for the length of each"):
        grpo.grpo_loss(policy, batch, fixed_length=0)


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_the_metrics_of_a_policy_by_hand(method):
    """Token by token: of each reply, the places that count, with Python's own numbers."""
    batch, policy, clip = experience(), gpt(3).double(), 0.1
    logits = policy(batch.ids[:, :-1])
    distances, clipped, entropy, lengths = [], [], [], []
    for row, places in enumerate(batch.completion_mask[:, 1:].tolist()):
        lengths.append(sum(places))
        for t, counts in enumerate(places):
            if counts:
                log = logits[row, t].log_softmax(0)[batch.ids[row, t + 1]].item()
                ratio, advantage = math.exp(log - batch.old_logprobs[row, t].item()), batch.advantages[row, t].item()
                clipped.append(
                    min(ratio * advantage, max(1 - clip, min(1 + clip, ratio)) * advantage) < ratio * advantage
                )
                to_reference = math.exp(batch.ref_logprobs[row, t].item() - log)
                distances.append(to_reference - math.log(to_reference) - 1)
                entropy.append(-log)
    expected = {
        "reward": sum(batch.rewards.tolist()) / 3,
        "kl": sum(distances) / 6,
        "clip_fraction": sum(clipped) / 6,
        "entropy": sum(entropy) / 6,
        "length": sum(lengths) / 3,
    }
    assert lengths == [2, 1, 3]
    assert 0 < sum(clipped) < 6
    if method == "ppo":
        loss = ppo.ppo_loss(ppo.ActorCritic(policy, RewardModel(gpt(4).double())), batch, clip)
    else:
        loss = grpo.grpo_loss(policy, batch, clip)
    assert {name: value.item() for name, value in loss.metrics.items()} == pytest.approx(expected, rel=1e-6)
    assert not any(value.requires_grad for value in loss.metrics.values())


# --- rollouts ----------------------------------------------------------------------------------------------------


def test_replies_are_drawn_from_the_policy():
    """How often each possible reply comes, to prompts of two lengths, within five standard errors."""
    policy, n = gpt(5, d_model=32).train(), 4000
    policy.lm_head.weight.data *= 3  # a policy with preferences
    every = replies(2)
    modes = []
    watched = policy.norm.register_forward_hook(lambda *_: modes.append(policy.training))
    texts = sample_completions(policy, [[0], [1, 2]] * n, 2, torch.Generator().manual_seed(0), END)
    watched.remove()
    assert policy.training
    assert not any(modes)
    said = [tuple(reply) for reply in texts.completions()]
    for offset, prompt in enumerate(([0], [1, 2])):
        p = distribution(policy, prompt, every)
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        counts = torch.tensor([said[offset::2].count(reply) for reply in every])
        error = (p * (1 - p) / n).sqrt()
        assert ((counts / n - p).abs() < 5 * error + 1e-6).all()
        assert p.max() > 2 * p.median()


def test_a_frozen_copy_stays_as_the_model_was():
    policy = gpt().train()
    reference = frozen_copy(policy)
    assert policy.training
    assert not reference.training
    assert not any(p.requires_grad for p in reference.parameters())
    assert all(p.requires_grad for p in policy.parameters())
    before = [p.clone() for p in reference.parameters()]
    for p in policy.parameters():
        p.data += 1
    assert all(torch.equal(p, then) for p, then in zip(reference.parameters(), before, strict=True))


def test_the_generator_alone_decides():
    policy, prompts = gpt(), [[0], [1, 2]] * 8
    one, same, other = (
        sample_completions(policy, prompts, 5, torch.Generator().manual_seed(s), END) for s in (1, 1, 2)
    )
    assert torch.equal(one.ids, same.ids)
    assert one.completions() != other.completions()


def test_what_is_collected_fits_together():
    """Rows in their groups; log-probabilities under the policy of now; returns are the values and what they lacked."""
    policy, reference = gpt(3), gpt(4)
    judged = []

    def reward_fn(texts):
        judged.append(texts)
        return texts.completion_mask.sum(1).float()

    rules = {"n_prompts": 6, "max_new_tokens": 3, "eos_token_id": END}
    prompts, generator = [[0], [1, 2], [2, 2]], torch.Generator().manual_seed(0)
    found = grpo.grpo_rollout(policy, reference, prompts, reward_fn, generator, group_size=4, **rules)
    assert torch.equal(judged[0].ids, found.ids)
    assert torch.equal(found.rewards, found.completion_mask.sum(1).float())
    asked = [ids[: mask.int().argmax()].tolist() for ids, mask in zip(found.ids, found.completion_mask, strict=True)]
    assert all(asked[i] == asked[i - i % 4] for i in range(24))
    assert_close(found.old_logprobs, completion_logprobs(policy, found.texts))
    assert_close(found.ref_logprobs, completion_logprobs(reference, found.texts))
    advantages = grpo.group_advantages(found.rewards, 4)[:, None].expand(found.old_logprobs.shape)
    assert_close(found.advantages, advantages * found.completion_mask[:, 1:])

    pair = ppo.ActorCritic(policy, RewardModel(gpt(5)))
    made = ppo.ppo_rollout(pair, reference, prompts, reward_fn, generator, beta=0.2, gamma=0.9, lam=0.8, **rules)
    mask, values = made.completion_mask[:, 1:], pair.critic.scores(made.ids)[:, :-1]
    rewards = ppo.kl_penalised_rewards(made.rewards, made.old_logprobs, made.ref_logprobs, mask, 0.2)
    advantages = ppo.gae(rewards, values.detach(), mask, 0.9, 0.8)
    assert_close(made.returns, (advantages + values) * mask, rtol=1e-4, atol=1e-5)
    assert_close(made.advantages, ppo.masked_whiten(advantages, mask), rtol=1e-4, atol=1e-5)
    assert not any(tensor.requires_grad for tensor in made.tensors().values())


def test_a_reward_function_that_gives_no_number_for_each_reply_is_told():
    def reward_fn(texts):
        return torch.zeros(len(texts.ids), 1)

    with pytest.raises(
        ValueError, match=r"for 4 completions the reward function gave .* the shape \(4, 1\); one number"
    ):
        grpo.grpo_rollout(
            gpt(), gpt(), [[0]], reward_fn, torch.Generator(), n_prompts=2, group_size=2, max_new_tokens=1
        )
    found = grpo.grpo_rollout(
        gpt(), gpt(), [[0]], lambda texts: [1, 2], torch.Generator(), n_prompts=1, group_size=2, max_new_tokens=1
    )
    assert found.rewards.tolist() == [1, 2]  # a list is numbers too


def test_nothing_to_reply_to_and_nothing_to_compare_with():
    for prompts, group, message in (([], 2, "there are no prompts"), ([[0]], 1, "in a group of 1 a completion has no")):
        with pytest.raises(ValueError, match=message):
            grpo.grpo_rollout(
                gpt(), gpt(), prompts, torch.sum, torch.Generator(), n_prompts=2, group_size=group, max_new_tokens=1
            )


@pytest.mark.parametrize("precision", [name for name in CHOICES["precision"] if name != "auto"])  # one of the others
def test_the_policy_is_the_same_when_it_writes_and_when_it_learns(precision):
    """In the precision of the run too: before the first step on a rollout all ratios are 1."""
    policy = gpt()
    collect = partial(
        grpo.grpo_rollout,
        policy,
        gpt(1),
        [[0], [1, 2]],
        lambda texts: texts.ids[:, -1].float(),
        n_prompts=2,
        group_size=8,
    )
    ratios = []

    def loss(model, batch):
        ratios.append((completion_logprobs(model, batch.texts) - batch.old_logprobs).exp())
        return grpo.grpo_loss(model, batch)

    train(
        policy, RolloutBuffer(partial(collect, max_new_tokens=4), epochs=2), loss, TrainConfig(4, precision=precision)
    )
    for first, second in (ratios[:2], ratios[2:]):
        assert_close(first, torch.ones_like(first), rtol=0, atol=1e-5)  # rows in another order may round otherwise
        assert (second - 1).abs().max() > 1e-3


def test_a_rollout_is_learned_from_several_times():
    """Each reply once in every epoch, in another order; then a new rollout."""
    rollouts = []

    def collect(generator):
        rollouts.append(experience(seed=len(rollouts))._replace(rewards=torch.arange(3) + 3.0 * len(rollouts)))
        return rollouts[-1]

    replay, generator = RolloutBuffer(collect, epochs=2, minibatches=3), torch.Generator().manual_seed(0)
    seen = [replay(generator).rewards.item() for _ in range(12)]
    assert len(rollouts) == 2
    assert [sorted(seen[i : i + 3]) for i in (0, 3, 6, 9)] == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert len({tuple(x % 3 for x in seen[i : i + 3]) for i in (0, 3, 6, 9)}) > 1
    with pytest.raises(ValueError, match="3 completions cannot be shared equally by 2 minibatches"):
        RolloutBuffer(collect, minibatches=2)(generator)
    with pytest.raises(ValueError, match=r"epochs \(0\)"):
        RolloutBuffer(collect, epochs=0)


# --- where it leads ----------------------------------------------------------------------------------------------


def test_ppo_finds_the_best_policy():
    """pi(y | x) proportional to pi_ref(y | x) exp(r(y) / beta): all replies of two tokens, ended or cut off.

    There the penalised rewards of all replies are equal, so that nothing is left to learn, and noise dies out.
    """
    every, prompts, beta = replies(2), [[0], [1, 2]], 0.7
    points = {reply: (5 * i) % 4 / 2 for i, reply in enumerate(every)}
    policy = gpt(d_model=32)
    reference = frozen_copy(policy)
    pair = ppo.ActorCritic(policy, RewardModel(gpt(1, d_model=32)))

    def reward_fn(texts):
        return torch.tensor([points[tuple(reply)] for reply in texts.completions()])

    rules = {"n_prompts": 256, "max_new_tokens": 2, "eos_token_id": END, "beta": beta}
    batches = RolloutBuffer(partial(ppo.ppo_rollout, pair, reference, prompts, reward_fn, **rules))
    train(pair, batches, ppo.ppo_loss, TrainConfig(100, lr=1e-2, warmup_steps=10))
    for prompt in prompts:
        start, found = distribution(reference, prompt, every), distribution(policy, prompt, every)
        best = start * (torch.tensor([points[reply] for reply in every]) / beta).exp()
        best /= best.sum()
        assert_close(found, best, rtol=0, atol=0.01)
        assert (found * (found / best).log()).sum() < 1e-3
        assert (start * (start / best).log()).sum() > 0.3


@pytest.mark.parametrize("divergence", [kl.k3, kl.k2])
def test_where_grpo_leads(divergence):
    """With k2 to pi_ref exp(r / beta) / Z; with k3, as published, to beta pi_ref / (c - r), which sums to 1 for one c.

    That is the best policy for E[r] - beta KL(pi_ref, pi). Since a reply is a part of the mean that it is compared
    with, advantages come out smaller by 1 - 1 / group, and beta counts for more by as much.
    """
    rewards, beta, group = torch.tensor([0.0, 0.0, 0.0, 3.0]), 0.5, 4
    every = [(token,) for token in range(4)]
    policy = gpt()
    policy.token_embedding.weight.data *= 0.1  # so that all replies are about equally likely at the start
    reference = frozen_copy(policy)

    def reward_fn(texts):
        return rewards[texts.ids[:, -1]]

    rules = {"n_prompts": 128, "group_size": group, "max_new_tokens": 1, "scale_by_std": False}
    batches = RolloutBuffer(partial(grpo.grpo_rollout, policy, reference, [[0]], reward_fn, **rules))
    loss = partial(grpo.grpo_loss, beta=beta, kl_estimator=divergence)
    train(policy, batches, loss, TrainConfig(100, lr=1e-2, warmup_steps=10))

    start, price = distribution(reference, [0], every), beta * group / (group - 1)
    tilted = start * (rewards / price).exp()
    tilted /= tilted.sum()
    low, high = rewards.max(), rewards.max() + 2 * price * len(rewards)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if (price * start / (middle - rewards)).sum() > 1 else (low, middle)
    hyperbolic = price * start / (high - rewards)
    assert (tilted - hyperbolic).abs().max() > 0.1
    best = hyperbolic if divergence is kl.k3 else tilted
    assert_close(distribution(policy, [0], every), best, rtol=0, atol=0.015)


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_rewards_carry_over_to_prompts_held_out(method):
    """To repeat the first of two symbols, of eight; the control is rewarded at random, as often as one who guesses."""
    prompts = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    held_out = prompts.sum(1) % 4 == 0  # each symbol is the right answer to two of them

    def right(texts):
        return (texts.ids[:, 2] == texts.ids[:, 0]).float()

    def luck(texts):
        return (torch.rand(len(texts.ids)) < 1 / 8).float()

    found = {}
    for reward_fn in (right, luck):
        torch.manual_seed(0)
        model = policy = gpt(vocab_size=8, d_model=32)
        reference, asked, rules = frozen_copy(policy), prompts[~held_out].tolist(), {"max_new_tokens": 1}
        if method == "ppo":
            model = ppo.ActorCritic(policy, RewardModel(gpt(1, vocab_size=8, d_model=32)))
            collect = partial(ppo.ppo_rollout, model, reference, asked, reward_fn, n_prompts=256, beta=0.01, **rules)
            loss = ppo.ppo_loss
        else:
            collect = partial(
                grpo.grpo_rollout, model, reference, asked, reward_fn, n_prompts=32, group_size=8, **rules
            )
            loss = partial(grpo.grpo_loss, beta=0.01)
        train(model, RolloutBuffer(collect, epochs=2, minibatches=2), loss, TrainConfig(100, lr=1e-2, warmup_steps=10))
        test = prompts[held_out]
        with torch.no_grad():
            found[reward_fn] = policy(test)[:, -1].softmax(1).gather(1, test[:, :1]).mean().item()
    assert found[right] > 0.9
    assert found[luck] < 0.25  # 1/8 for who guesses


def test_from_comparisons_to_a_policy():
    """The whole way: a reward model learns what is preferred, and judges; a copy of it is the critic to start with."""
    prompts = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    held_out = prompts.sum(1) % 4 == 0
    asked, test = prompts[~held_out], prompts[held_out]
    better, wrong = asked[:, :1].repeat(7, 1), torch.cat([(asked[:, :1] + i) % 8 for i in range(1, 8)])
    compared = preference_examples(asked.repeat(7, 1).tolist(), better.tolist(), wrong.tolist())
    policy = gpt(vocab_size=8, d_model=32)
    reward_fn = RewardModel(copy.deepcopy(policy))
    train(reward_fn, Loader(compared, 64), reward_loss, TrainConfig(100, lr=1e-2, warmup_steps=10))
    model = ppo.ActorCritic(policy, copy.deepcopy(reward_fn))
    collect = partial(ppo.ppo_rollout, model, frozen_copy(policy), asked.tolist(), frozen_copy(reward_fn))
    batches = RolloutBuffer(partial(collect, n_prompts=256, max_new_tokens=1, beta=1.0), epochs=2, minibatches=2)
    train(model, batches, ppo.ppo_loss, TrainConfig(100, lr=1e-2, warmup_steps=10))
    with torch.no_grad():
        found = policy(test)[:, -1].softmax(1).gather(1, test[:, :1]).mean().item()
    assert found > 0.8  # 1/8 for who guesses


def test_a_judge_can_read_the_last_token_of_a_full_context():
    torch.manual_seed(0)
    policy = GPT(GPTConfig(9, context=16, d_model=8, n_layers=1, n_heads=2))
    reward_fn = RewardModel(GPT(policy.config))
    texts = sample_completions(policy, [list(range(9)), [1]], 30, torch.Generator().manual_seed(0))
    assert texts.ids.shape == (2, 16)
    assert reward_fn(texts).shape == (2,)
