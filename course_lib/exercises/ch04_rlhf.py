"""Exercises of the lab `ch04_rlhf`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import Case, Exercise, call_and_differentiate_only, told


def best_policy(reference, rewards, beta):
    return (reference + rewards / beta).log_softmax(dim=-1)


def _best_policy_cases(rng):
    def policy(*shape):
        return torch.randn(*shape, generator=rng).log_softmax(-1)

    half = torch.tensor([0.5, 0.5]).log()
    return [
        Case("two replies, one of them worth 1, at a price of 1", (half, torch.tensor([0.0, 1.0]), 1.0)),
        Case("5 replies, a price of 0.5", (policy(5), torch.randn(5, generator=rng), 0.5)),
        Case("3 prompts with 6 replies each", (policy(3, 6), 2 * torch.randn(3, 6, generator=rng), 2.0)),
        Case("large rewards and a low price", (policy(2, 4), 100 * torch.rand(2, 4, generator=rng), 0.25), atol=1e-3),
    ]


def _shares(weights):
    return weights / weights.sum(-1, keepdim=True)


BEST_POLICY_MISTAKES = {
    lambda p, r, b: (p + r * b).log_softmax(-1): """The rewards are multiplied by beta. A high price should make the
        policy move less: divide by it.""",
    lambda p, r, b: (0 * p + r / b).log_softmax(-1): "The reference is missing: this policy forgot how people talk.",
    lambda p, r, b: p + r / b: "The probabilities do not add up to 1: subtract the logarithm of their sum.",
    lambda p, r, b: (p + r / b).softmax(-1): "These are probabilities; their logarithms are wanted.",
    lambda p, r, b: (p.exp() + r / b).log_softmax(-1): """exp(r / beta) multiplies the probabilities of the reference:
        add r / beta to its logarithms.""",
    lambda p, r, b: _shares(p * (r / b).exp()).log(): """`reference` is multiplied as if it held probabilities. It holds
        their logarithms: add r / beta to them.""",
    lambda p, r, b: (p + r / b).log_softmax(0): """The probabilities add up to 1 along the first axis. The replies to
        one prompt stand along the last.""",
    lambda p, r, b: _shares(p.exp() * (r / b).exp()).log(): """Right on paper. Where r / beta is large, its exponential
        is too large for a float: stay with logarithms.""",
}


def clipped_surrogate(new, old, advantages, clip):
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def _clipped_cases(rng):
    ratios = torch.tensor([0.5, 0.7, 0.9, 1.1, 1.3, 1.5])
    old = -3 * torch.rand(4, 5, generator=rng)
    new = old + 0.4 * torch.randn(4, 5, generator=rng)
    return [
        Case("advantages of 1, ratios from 0.5 to 1.5", (ratios.log(), torch.zeros(6), torch.ones(6), 0.2)),
        Case("advantages of -1, ratios from 0.5 to 1.5", (ratios.log(), torch.zeros(6), -torch.ones(6), 0.2)),
        Case("4 replies of 5 tokens", (new, old, torch.randn(4, 5, generator=rng), 0.1)),
        Case("advantages of 100", (new[0], old[0], torch.full((5,), 100.0), 0.3)),
    ]


def _halves(new, old, advantages, clip):
    ratio = (new - old).exp()
    return ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages


def _smaller(ratio, middle=1):
    def half(new, old, a, clip):
        return torch.minimum(ratio(new, old) * a, ratio(new, old).clamp(middle - clip, middle + clip) * a)

    return half


CLIP_MISTAKES = {
    lambda *given: _halves(*given)[0]: "Nothing is clipped: a token can be pushed as far as the optimizer likes.",
    lambda *given: _halves(*given)[1]: """This is the clipped half alone. It also stops the way back: a token that went
        the wrong way has to have a gradient. Take the minimum of both halves.""",
    lambda new, old, a, clip: a * torch.minimum(*_halves(new, old, 1, clip)): """The minimum is of the two products, not
        of the two ratios: for a negative advantage they differ.""",
    lambda *given: torch.maximum(*_halves(*given)): """This is the larger of both halves, the hopeful one. PPO takes the
        smaller: it is a lower bound.""",
    _smaller(lambda new, old: (old - new).exp()): "The ratio is upside down: it is the exponential of `new - old`.",
    _smaller(lambda new, old: new - old, 0): """This clips the difference of the logarithms. The ratio is its
        exponential, and lies around 1.""",
    _smaller(lambda new, old: new - old): "This is the difference of the logarithms. The ratio is its exponential.",
    _smaller(lambda new, old: (new - old).exp(), 0): """The ratio is kept within -clip and clip. Where nothing has
        changed it is 1: keep it within 1 - clip and 1 + clip.""",
}


def gae(rewards, values, gamma, lam):
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantages[:, t] = delta + gamma * lam * next_advantage
        next_value, next_advantage = values[:, t], advantages[:, t]
    return advantages


def _gae_cases(rng):
    rewards, values = torch.tensor([[1.0, 0.0, 5.0]]), torch.tensor([[2.0, 3.0, 4.0]])

    def random(*shape):
        return torch.randn(*shape, generator=rng)

    return [
        Case("lam = 0: one step ahead", (rewards, values, 1.0, 0.0), expected=torch.tensor([[2.0, 1.0, 1.0]])),
        Case("lam = 1: all that is to come", (rewards, values, 1.0, 1.0), expected=torch.tensor([[4.0, 2.0, 1.0]])),
        Case("3 replies of 6 tokens", (random(3, 6), random(3, 6), 0.9, 0.8)),
        Case("one token", (random(2, 1), random(2, 1), 0.9, 0.5)),
    ]


def _gae(decay=lambda gamma, lam: gamma * lam, end=lambda v: 0 * v, order=reversed, change=lambda r, v: (r, v)):
    def advantages(rewards, values, gamma, lam):
        rewards, values = change(rewards, values)
        delta = rewards + gamma * torch.cat((values[:, 1:], end(values)[:, :1]), dim=1) - values
        found, running = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
        for t in order(range(delta.shape[1])):
            found[:, t] = running = delta[:, t] + decay(gamma, lam) * running
        return found

    return advantages


GAE_MISTAKES = {
    _gae(order=list): """This sums what has been. An advantage is about what comes after a token: go through the reply
        backwards.""",
    _gae(end=lambda v: v[:, -1:]): "Behind the last token the value is 0, not that of the last token again.",
    _gae(end=lambda v: v): """Behind the last token stands the value of the first, as `roll` leaves it. Nothing is to
        come there: 0.""",
    _gae(lambda gamma, lam: lam): "What comes later counts for gamma times lam less with every step; gamma is missing.",
    _gae(lambda gamma, lam: gamma): "What comes later counts for gamma times lam less with every step; lam is missing.",
    _gae(lambda gamma, lam: 0): "This is delta alone, as with lam = 0: add gamma lam times the advantage of the next.",
    _gae(change=lambda r, v: (r, -v)): "Both values have the wrong sign: V_(t+1) is added, and V_t is taken off.",
    _gae(change=lambda r, v: (r + v, v)): """V_t is missing. The advantage says how much better it went than expected:
        take off what was expected.""",
    _gae(change=lambda r, v: (r, 0 * v)): """The values are not used: these are the rewards to come, and not how much
        better they are than expected.""",
    lambda r, v, gamma, lam: gae(r.T, v.T, gamma, lam).T: """This goes from one reply to the next. Each row is a reply
        of its own: go along its places.""",
    lambda r, v, gamma, lam: gae(r, v, gamma, lam) + v: """The value is added again at the end: this is what the critic
        should have foretold.""",
}


def group_advantages(rewards, group, normalise):
    groups = rewards.view(-1, group)
    above = groups - groups.mean(dim=1, keepdim=True)
    if normalise:
        spread = groups.std(dim=1, correction=0, keepdim=True)
        above = torch.where(spread > 0, above / spread, 0)
    return above.flatten()


def _group_cases(rng):
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 5.0, 1.0, 1.0, 1.0])
    return [
        Case("two groups of 4, means only", (rewards, 4, False)),
        Case("two groups of 4, in standard deviations", (rewards, 4, True)),
        Case("one group in which all are equal", (torch.tensor([2.0, 2.0, 2.0, 0.0, 1.0, 2.0]), 3, True)),
        Case("5 groups of 6", (3 * torch.randn(30, generator=rng), 6, False)),
        Case("6 groups of 5, in standard deviations", (3 * torch.randn(30, generator=rng), 5, True)),
    ]


def _every_so_many(rewards, group, normalise):
    return group_advantages(rewards.view(group, -1).T.flatten(), group, normalise).view(-1, group).T.flatten()


def _by_zero(rewards, group, normalise):
    spread = rewards.view(-1, group).std(1, correction=0).repeat_interleave(group)
    return group_advantages(rewards, group, False) / (spread if normalise else 1)


GROUP_MISTAKES = {
    lambda r, group, n: group_advantages(r, len(r), n): """Each reward is compared with all of them. Its group alone
        counts: the other replies to the same prompt.""",
    lambda r, group, n: group_advantages(r, group, n) * math.sqrt(1 - n / group): """The standard deviation is that of a
        sample, with n - 1 below. Here it is that of the group: `correction=0`.""",
    lambda r, group, n: group_advantages(r, group, True): "This always divides by the spread; `normalise` is ignored.",
    _by_zero: "Where all of a group are equal this is 0 / 0. Such a group teaches nothing: its advantages are 0.",
    lambda r, group, n: group_advantages(r, group, False): """With `normalise` the advantages are to be divided by the
        standard deviation of the group.""",
    _every_so_many: "These groups are not of neighbours. `rewards.view(-1, group)` has one in each row.",
    lambda r, group, n: group_advantages(r, len(r) // group, n): """This makes `group` groups. `group` is how many
        rewards there are in each: `rewards.view(-1, group)`.""",
}


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -F.logsigmoid(beta * margin).mean()


def _dpo_cases(rng):
    def logs(n):
        return -8 * torch.rand(n, generator=rng)

    same = logs(3), logs(3)
    return [
        Case("the policy is the reference", (*same, *same, 0.1)),
        Case("5 comparisons", (logs(5), logs(5), logs(5), logs(5), 0.5)),
        Case("8 comparisons, a short leash", (logs(8), logs(8), logs(8), logs(8), 2.0)),
        Case("very wrong", (*torch.tensor([[-300.0], [-1.0], [-2.0], [-9.0]]), 1.0)),
    ]


def _margin(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * (chosen - reference_chosen - rejected + reference_rejected)


DPO_MISTAKES = {
    lambda c, r, ref_c, ref_r, beta: dpo_loss(c, r, 0 * ref_c, 0 * ref_r, beta): """The reference is missing. What
        counts is how much likelier a reply has become, not how likely it is.""",
    lambda c, r, ref_c, ref_r, beta: dpo_loss(r, c, ref_r, ref_c, beta): """Chosen and rejected have changed places:
        this makes the rejected replies likelier.""",
    lambda *given: -dpo_loss(*given): "A minus sign is missing: a loss falls as the model gets better.",
    lambda *given: dpo_loss(*(*given[:4], 1)): """beta is missing. It stands inside the sigmoid, where it turns the
        margin into a difference of rewards.""",
    lambda *given: given[4] * dpo_loss(*(*given[:4], 1)): """beta stands outside. It belongs inside the sigmoid,
        where it turns the margin into a difference of rewards.""",
    lambda *given: dpo_loss(*(*given[:4], 1 / given[4])): """The margin is divided by beta. The reward that a policy
        implies is beta log(pi / ref): multiply.""",
    lambda c, r, ref_c, ref_r, beta: -F.logsigmoid(beta * (c / ref_c * ref_r / r).log()).mean(): """These are logarithms
        already. That of a ratio is their difference, not the logarithm of their ratio.""",
    lambda *given: -_margin(*given).sigmoid().mean().log(): """This is the surprise at the mean probability. The mean of
        the surprises is wanted: take the logarithm first.""",
    lambda *given: -_margin(*given).sigmoid().mean(): "The logarithm is missing: this is a probability, no surprise.",
    lambda *given: dpo_loss(*given) * len(given[0]): "This is the sum over the comparisons; their mean is wanted.",
    lambda *given: -_margin(*given).sigmoid().log().mean(): """Right on paper. Where the policy is very wrong the
        sigmoid rounds to 0, and its logarithm is infinite: `F.logsigmoid` computes both in one.""",
}


EXERCISES = [
    Exercise(
        id="best_policy",
        title="The best that a leash allows",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "A product of probabilities and exponentials is a sum of logarithms. What is left is to make it sum to 1.",
            "`reference + rewards / beta`, then `log_softmax` over the replies.",
        ),
        reference=best_policy,
        cases=_best_policy_cases,
        mistakes=told(BEST_POLICY_MISTAKES),
        see="Chapter 4, Learning from the judge",
    ),
    Exercise(
        id="clipped_surrogate",
        title="The clip of PPO",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "The ratio of two probabilities is the exponential of the difference of their logarithms. Multiply the "
            "advantages with it as it is, and with it kept within 1 - clip and 1 + clip.",
            "`ratio = (new - old).exp()`, then `torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * "
            "advantages)`.",
        ),
        reference=clipped_surrogate,
        cases=_clipped_cases,
        run_case=call_and_differentiate_only(0),  # `new` alone is trained,
        mistakes=told(CLIP_MISTAKES),
        see="Chapter 4, Learning from the judge",
    ),
    Exercise(
        id="gae",
        title="Which token deserves the praise?",
        points=3,
        minutes=15,
        difficulty=3,
        hints=(
            "Go through the columns from the last to the first, and keep value and advantage of the column that you "
            "come from. Both are 0 at the start.",
            "`delta = rewards[:, t] + gamma * next_value - values[:, t]`, and the advantage is `delta + gamma * lam * "
            "next_advantage`.",
        ),
        reference=gae,
        cases=_gae_cases,
        mistakes=told(GAE_MISTAKES),
        see="Chapter 4, Learning from the judge",
    ),
    Exercise(
        id="group_advantages",
        title="Better than the others",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "Write the rewards as a table with a group in each row. What is the mean of a row, and its spread?",
            "`groups = rewards.view(-1, group)`, less `groups.mean(dim=1, keepdim=True)`; divide by `groups.std(dim=1, "
            "correction=0, keepdim=True)` where that is above 0; `.flatten()`.",
        ),
        reference=group_advantages,
        cases=_group_cases,
        mistakes=told(GROUP_MISTAKES),
        see="Chapter 4, Learning from the judge",
    ),
    Exercise(
        id="dpo_loss",
        title="Comparisons without a judge",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "How much likelier has the chosen reply become, compared with the reference? And the rejected one? Their "
            "difference, times beta, is a difference of rewards.",
            "`margin = (chosen - reference_chosen) - (rejected - reference_rejected)`, then `-F.logsigmoid(beta * "
            "margin).mean()`.",
        ),
        reference=dpo_loss,
        cases=_dpo_cases,
        run_case=call_and_differentiate_only(0, 1),  # not the reference,
        mistakes=told(DPO_MISTAKES),
        see="Chapter 4, Learning from the judge",
    ),
]
