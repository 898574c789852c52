"""All replies of a small vocabulary: against the model asked one by one, enumeration, and gradients at a standstill."""

import itertools
import math

import pytest
import torch
from tiny import END, distribution, gpt
from torch.testing import assert_close

from course_lib.tune.completions import completion_examples
from course_lib.tune.exact import CompletionTree, forward_kl_policy, reward_ceiling

EVERY = CompletionTree(n_words=END, longest=3)
PROMPTS = [[0, 1], [2, 2]]
FLOAT32 = {"rtol": 1e-4, "atol": 1e-6}  # the models compute in float32, in batches of other shapes


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_every_reply_is_there_once_and_has_its_probability():
    replies = EVERY.all()
    expected = {r[: r.index(END) + 1] if END in r else r for r in itertools.product(range(END + 1), repeat=3)}
    assert len(replies) == len(expected)
    assert {tuple(reply) for reply in replies} == expected
    assert EVERY.texts([0, 1]).completions() == replies
    model = gpt()
    leaves = EVERY.completion_logprobs(EVERY.node_logprobs(model, PROMPTS))
    assert_close(leaves.exp().sum(1), torch.ones(2, dtype=torch.float64))
    for prompt, row in zip(PROMPTS, leaves, strict=True):
        assert_close(row.exp().float(), distribution(model, prompt, replies), **FLOAT32)


def test_rewards_and_marks_stand_where_the_completions_do():
    replies = EVERY.all()
    rewards = EVERY.rewards(lambda ids, mask: mask.sum(1) + 10.0 * ids[:, 0], PROMPTS)
    assert rewards[1].tolist() == [len(reply) + 10.0 * PROMPTS[1][0] for reply in replies]
    texts = completion_examples([PROMPTS[1], PROMPTS[0]], [replies[5], replies[7]]).all()
    assert EVERY.found_in(texts, PROMPTS).nonzero().tolist() == [[0, 7], [1, 5]]


def test_no_policy_is_above_the_ceiling_and_the_best_one_reaches_it():
    reference, rewards = EVERY.policy(gpt(), PROMPTS), numbers(2, len(EVERY.all()))
    for other in (numbers(2, len(EVERY.all()), seed=1).log_softmax(-1), (reference + rewards / 0.7).log_softmax(-1)):
        reward = (other.exp() * rewards).sum(-1).mean().item()
        far = (other.exp() * (other - reference)).sum(-1).mean().item()
        assert reward <= reward_ceiling(far, reference, rewards, [0.1, 0.7, 3.0]) + 1e-9
    assert reward == pytest.approx(reward_ceiling(far, reference, rewards, [0.7]))


def test_backward_induction_with_the_value_of_the_price_included_is_the_best_policy():
    """One step from the end both are the same: with replies of one token, ref exp(r / beta) / Z."""
    every, beta = CompletionTree(END, 1), 0.7
    reference, rewards = every.node_logprobs(gpt(), PROMPTS), numbers(2, END + 1)
    by_end = torch.cat((rewards[:, 1:], rewards[:, :1]), 1)  # a node has the words first, the leaves the end
    nodes = every.backward_induction(reference, rewards, lambda ref, r: (ref + r / beta).log_softmax(-1))
    assert_close(nodes[0][:, 0], (reference[0][:, 0] + by_end / beta).log_softmax(-1))


def test_backward_induction_expects_the_rewards_of_its_own_choices():
    """Greedy choices find the best reply of all; choices of the reference leave it as it is."""
    reference, rewards = EVERY.node_logprobs(gpt(), PROMPTS), numbers(2, len(EVERY.all()))
    same = EVERY.backward_induction(reference, rewards, lambda ref, r: ref)
    assert all(torch.equal(a, b) for a, b in zip(same, reference, strict=True))
    sharp = EVERY.backward_induction(reference, rewards, lambda ref, r: (1e6 * r).log_softmax(-1))
    assert_close(EVERY.completion_logprobs(sharp).exp().mul(rewards).sum(1), rewards.max(1).values)


def test_a_leash_on_each_token_is_at_a_standstill():
    """No token's logit has anything to gain: pi (Q - mean) = beta pi (log(pi / ref) - mean), at every node."""
    beta, rewards = 0.5, numbers(2, len(EVERY.all()))
    reference = EVERY.node_logprobs(gpt(), PROMPTS)
    seen = []

    def choose(ref, r):
        policy = (ref + r / beta).log_softmax(-1)
        seen.append((policy, ref, r))
        return policy

    EVERY.backward_induction(reference, rewards, choose)
    for policy, ref, r in seen:
        p = policy.exp()
        gain = r - beta * (policy - ref)
        assert_close(p * (gain - (p * gain).sum(-1, keepdim=True)), torch.zeros_like(p), rtol=0, atol=1e-9)


def test_the_hyperbola_is_best_for_the_other_divergence():
    """Its probabilities add up to 1, and the gradient of E[r] - beta KL(ref, pi) is 0 there."""
    for beta in (0.05, 1.0, 20.0):
        reference, rewards = numbers(4, 6, seed=1).log_softmax(-1), 3 * numbers(4, 6, seed=2)
        logits = forward_kl_policy(reference, rewards, beta).requires_grad_()
        assert_close(logits.exp().sum(-1), torch.ones(4, dtype=torch.float64))
        policy = logits.log_softmax(-1)
        worth = (policy.exp() * rewards).sum() - beta * (reference.exp() * (reference - policy)).sum()
        assert_close(torch.autograd.grad(worth, logits)[0], torch.zeros(4, 6, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("log_p", [-1.0, -32.0, -40.0, -700.0])
def test_the_hyperbola_where_the_best_is_unlikely(log_p):
    """Two options of rewards 3 and 0: c - 3 = x solves beta p / x + beta (1 - p) / (3 + x) = 1, which is a parabola."""
    beta, p = 0.5, math.exp(log_p)
    reference = torch.tensor([log_p, math.log1p(-p)], dtype=torch.float64)
    found = forward_kl_policy(reference, torch.tensor([3.0, 0.0], dtype=torch.float64), beta).exp()
    half = (3 - beta) / 2  # x^2 + 2 half x = 3 beta p
    x = 3 * beta * p / (half + math.sqrt(half**2 + 3 * beta * p))
    assert_close(found, torch.tensor([beta * p / x, beta * (1 - p) / (3 + x)], dtype=torch.float64), rtol=1e-9, atol=0)
