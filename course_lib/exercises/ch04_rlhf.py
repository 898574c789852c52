"""Exercises of the lab `ch04_rlhf`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import Case, Exercise, Mistake, differentiate_in, told


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


BEST_POLICY_MISTAKES = (
    Mistake(
        lambda reference, rewards, beta: (reference + rewards * beta).log_softmax(-1),
        "The rewards are multiplied by beta. A high price should make the policy move less: divide by it.",
    ),
    Mistake(
        lambda reference, rewards, beta: (rewards / beta).log_softmax(-1) + 0 * reference,
        "The reference is missing: this policy has forgotten how people talk.",
    ),
    Mistake(
        lambda reference, rewards, beta: reference + rewards / beta,
        "The sum is right, and its probabilities do not add up to 1: subtract the logarithm of their sum.",
    ),
    Mistake(
        lambda reference, rewards, beta: (reference + rewards / beta).softmax(-1),
        "These are probabilities; their logarithms are wanted.",
    ),
    Mistake(
        lambda reference, rewards, beta: (reference.exp() + rewards / beta).log_softmax(-1),
        "exp(r / beta) multiplies the probabilities of the reference: add r / beta to its logarithms.",
    ),
)


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


def _ratio(new, old, clip):
    ratio = (new - old).exp()
    return ratio, ratio.clamp(1 - clip, 1 + clip)


class _WrongClip:
    def unclipped(new, old, advantages, clip):
        "Nothing is clipped: a token can be pushed as far as the optimizer likes."
        return (new - old).exp() * advantages

    def clipped_half(new, old, advantages, clip):
        """This is the clipped half alone. It also stops the way back: a token that went the wrong way has to have a
        gradient. Take the minimum of both halves."""
        return _ratio(new, old, clip)[1] * advantages

    def of_ratios(new, old, advantages, clip):
        "The minimum is of the two products, not of the two ratios: for a negative advantage they differ."
        return torch.minimum(*_ratio(new, old, clip)) * advantages

    def larger(new, old, advantages, clip):
        "This is the larger of both halves, the hopeful one. PPO takes the smaller: it is a lower bound."
        return torch.maximum(*(ratio * advantages for ratio in _ratio(new, old, clip)))

    def upside_down(new, old, advantages, clip):
        "The ratio is upside down: it is new over old, the exponential of `new - old`."
        return clipped_surrogate(old, new, advantages, clip)

    def of_logarithms(new, old, advantages, clip):
        "This clips the difference of the logarithms. The ratio is its exponential, and lies around 1."
        return torch.minimum((new - old) * advantages, (new - old).clamp(-clip, clip) * advantages)


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


def _gae_wrong(rewards, values, gamma, decay, end=None, order=reversed):
    end = torch.zeros_like(values[:, :1]) if end is None else end
    delta = rewards + gamma * torch.cat((values[:, 1:], end), dim=1) - values
    found, running = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
    for t in order(range(delta.shape[1])):
        found[:, t] = running = delta[:, t] + decay * running
    return found


class _WrongAdvantage:
    def forwards(rewards, values, gamma, lam):
        "This sums what has been. An advantage is about what comes after a token: go through the reply backwards."
        return _gae_wrong(rewards, values, gamma, gamma * lam, order=list)

    def last_value_again(rewards, values, gamma, lam):
        "Behind the last token there is nothing more to come: the value there is 0, not that of the last token again."
        return _gae_wrong(rewards, values, gamma, gamma * lam, end=values[:, -1:])

    def rolled(rewards, values, gamma, lam):
        "Behind the last token stands the value of the first, as `roll` leaves it. Nothing is to come there: 0."
        return _gae_wrong(rewards, values, gamma, gamma * lam, end=values[:, :1])

    def no_gamma(rewards, values, gamma, lam):
        "What comes later counts for gamma times lam less with every step; here gamma is missing."
        return _gae_wrong(rewards, values, gamma, lam)

    def no_lam(rewards, values, gamma, lam):
        "What comes later counts for gamma times lam less with every step; here lam is missing."
        return _gae_wrong(rewards, values, gamma, gamma)

    def delta(rewards, values, gamma, lam):
        "This is delta alone, as with lam = 0: add gamma times lam times the advantage of the next token."
        return _gae_wrong(rewards, values, gamma, 0.0)

    def returns(rewards, values, gamma, lam):
        "The value is added again at the end: this is what the critic should have foretold."
        return gae(rewards, values, gamma, lam) + values


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


GROUP_MISTAKES = (
    Mistake(
        lambda rewards, group, normalise: group_advantages(rewards, len(rewards), normalise),
        "Each reward is compared with all of them. Its group alone counts: the other replies to the same prompt.",
    ),
    Mistake(
        lambda rewards, group, normalise: (
            group_advantages(rewards, group, normalise) * (math.sqrt(1 - 1 / group) if normalise else 1)
        ),
        "The standard deviation is that of a sample, with n - 1 below. Here it is that of the group: `correction=0`.",
    ),
    Mistake(
        lambda rewards, group, normalise: group_advantages(rewards, group, True),
        "This always divides by the standard deviation; it should only with `normalise`.",
    ),
    Mistake(
        lambda rewards, group, normalise: (
            group_advantages(rewards, group, False)
            / (rewards.view(-1, group).std(1, correction=0).repeat_interleave(group) if normalise else 1)
        ),
        "Where all rewards of a group are equal this is 0 / 0. Such a group teaches nothing: its advantages are 0.",
    ),
    Mistake(
        lambda rewards, group, normalise: group_advantages(rewards, group, False),
        "With `normalise` the advantages are to be divided by the standard deviation of the group.",
    ),
)


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


class _WrongDpo:
    def no_reference(chosen, rejected, reference_chosen, reference_rejected, beta):
        "The reference is missing. What counts is how much likelier a reply has become, not how likely it is."
        return -F.logsigmoid(beta * (chosen - rejected)).mean()

    def turned_around(chosen, rejected, reference_chosen, reference_rejected, beta):
        "Chosen and rejected have changed places: this makes the rejected replies likelier."
        return dpo_loss(rejected, chosen, reference_rejected, reference_chosen, beta)

    def sign(*given):
        "A minus sign is missing before the logarithm: a loss falls as the model gets better."
        return -dpo_loss(*given)

    def no_beta(*given):
        "beta is missing. It stands inside the sigmoid, where it turns the margin into a difference of rewards."
        return dpo_loss(*given[:4], 1.0)

    def beta_outside(*given):
        "beta stands outside. It belongs inside the sigmoid, where it turns the margin into a difference of rewards."
        return given[4] * dpo_loss(*given[:4], 1.0)

    def total(*given):
        "This is the sum over the comparisons; their mean is wanted."
        return dpo_loss(*given) * len(given[0])

    def in_two_steps(chosen, rejected, reference_chosen, reference_rejected, beta):
        """Right on paper. Where the policy is very wrong the sigmoid rounds to 0, and its logarithm is infinite:
        `F.logsigmoid` computes both in one."""
        return -(beta * (chosen - reference_chosen - rejected + reference_rejected)).sigmoid().log().mean()


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
        mistakes=BEST_POLICY_MISTAKES,
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
        drive=differentiate_in(0),  # `new` alone is trained,
        mistakes=told(_WrongClip),
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
        mistakes=told(_WrongAdvantage),
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
        mistakes=GROUP_MISTAKES,
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
        drive=differentiate_in(0, 1),  # not the reference,
        mistakes=told(_WrongDpo),
        see="Chapter 4, Learning from the judge",
    ),
]
