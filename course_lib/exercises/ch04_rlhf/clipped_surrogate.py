"""The clipped objective of PPO: no gain from moving a token's probability too far (Schulman et al. 2017, eq. 7)."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate_only,
    mistake,
    mistakes_in,
)


def clipped_surrogate(new, old, advantages, clip):
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def cases(rng):
    ratios = torch.tensor([0.5, 0.7, 0.9, 1.1, 1.3, 1.5])
    old = -3 * torch.rand(4, 5, generator=rng)
    new = old + 0.4 * torch.randn(4, 5, generator=rng)
    return [
        Case("advantages of 1, ratios from 0.5 to 1.5", (ratios.log(), torch.zeros(6), torch.ones(6), 0.2)),
        Case("advantages of -1, ratios from 0.5 to 1.5", (ratios.log(), torch.zeros(6), -torch.ones(6), 0.2)),
        Case("4 replies of 5 tokens", (new, old, torch.randn(4, 5, generator=rng), 0.1)),
        Case("advantages of 100", (new[0], old[0], torch.full((5,), 100.0), 0.3)),
    ]


@alternative
def by_the_sign_of_the_advantage(new, old, advantages, clip):
    ratio = torch.exp(new) / torch.exp(old)
    bounded = torch.where(advantages >= 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
    return bounded * advantages


@alternative
def with_constants_detached(new, old, advantages, clip):
    ratio, advantages = (new - old.detach()).exp(), advantages.detach()
    return torch.stack((ratio * advantages, ratio.clip(1 - clip, 1 + clip) * advantages)).amin(dim=0)


def minimum_of_both_products(ratio, advantages, lowest, highest):
    return torch.minimum(ratio * advantages, ratio.clamp(lowest, highest) * advantages)


@alternative
def token_by_token(new, old, advantages, clip):
    gains = []
    for now, before, advantage in zip(new.flatten(), old.flatten(), advantages.flatten(), strict=True):
        ratio = (now - before).exp()
        if advantage > 0 and ratio > 1 + clip:
            ratio = 0 * ratio + 1 + clip
        if advantage < 0 and ratio < 1 - clip:
            ratio = 0 * ratio + 1 - clip
        gains.append(ratio * advantage)
    return torch.stack(gains).view_as(new)


@mistake(
    "The fault is still there. With an advantage of 1 all is well, with one of -1 it is not: then the right direction "
    "is down. There a ratio of 1.5 should be pushed back, and has no gradient here; one of 0.5 should have none.",
    given=True,
)
def minimum_of_the_ratios(new, old, advantages, clip):
    ratio = (new - old).exp()
    return advantages * torch.minimum(ratio, ratio.clamp(1 - clip, 1 + clip))


@mistake(
    "Tokens with an advantage below 0 are never limited here. One that has fallen by more than `clip` has gone as far "
    "as its advantage may push it: below 1 - clip it has no gradient."
)
def not_limited_below(new, old, advantages, clip):
    ratio = (new - old).exp()
    return advantages * torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio)


@mistake(
    "For an advantage below 0 the ratio is limited on the wrong side. This keeps it at 1 - clip or *less*, so a token "
    "that has not fallen yet has no gradient. Keep it at 1 - clip or more: `clamp(min=1 - clip)`."
)
def limited_from_above(new, old, advantages, clip):
    ratio = (new - old).exp()
    return advantages * torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio.clamp(max=1 - clip))


@mistake(
    "Nothing is limited, so a token's probability can move as far as the optimizer likes. Where it has moved by more "
    "than `clip` in the direction of its advantage, it should have no gradient."
)
def not_clipped(new, old, advantages, clip):
    return (new - old).exp() * advantages


@mistake(
    "This limits both directions. A token that has moved the wrong way then has no gradient either, and never comes "
    "back. Limit the ratio on the side that the advantage asks for, and on that side alone."
)
def clipped_product_alone(new, old, advantages, clip):
    return (new - old).exp().clamp(1 - clip, 1 + clip) * advantages


@mistake(
    "A token that has moved far enough gains 0 here. It has no gradient, as it should, but it keeps the gain that it "
    "had at the limit: 1 + clip times an advantage above 0, 1 - clip times one below."
)
def nothing_beyond_the_limit(new, old, advantages, clip):
    ratio = (new - old).exp()
    far = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return (ratio * advantages).masked_fill(far, 0.0)


@mistake(
    "Here the logarithm of the ratio is kept between -clip and clip, so the limits are e to the power of these. The "
    "ratio itself stops at 1 - clip or at 1 + clip."
)
def logarithm_clipped(new, old, advantages, clip):
    gain, limited = (new - old).exp() * advantages, (new - old).clamp(-clip, clip).exp() * advantages
    return torch.minimum(gain, limited)


@mistake(
    "This is the larger of the two products, so the limit is on the wrong side: a token that goes the right way is "
    "never stopped, and one that went wrong is not pushed back. Take the smaller: `torch.minimum`."
)
def maximum(new, old, advantages, clip):
    ratio = (new - old).exp()
    return torch.maximum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


@mistake("The ratio is upside down: it is the exponential of `new - old`.")
def ratio_upside_down(new, old, advantages, clip):
    return minimum_of_both_products((old - new).exp(), advantages, 1 - clip, 1 + clip)


@mistake(
    "This clips `new - old`, the difference of the logarithms. The ratio is the exponential of that difference, and "
    "it is kept between 1 - clip and 1 + clip."
)
def difference_clipped_around_0(new, old, advantages, clip):
    return minimum_of_both_products(new - old, advantages, -clip, clip)


@mistake("`new - old` is the difference of the logarithms; the ratio of the two probabilities is its exponential.")
def no_exponential(new, old, advantages, clip):
    return minimum_of_both_products(new - old, advantages, 1 - clip, 1 + clip)


@mistake(
    "The ratio is kept between -clip and clip. But where nothing has changed the ratio is 1: keep it between 1 - clip "
    "and 1 + clip."
)
def ratio_clipped_around_0(new, old, advantages, clip):
    return minimum_of_both_products((new - old).exp(), advantages, -clip, clip)


@mistake(
    "Now it is right for an advantage of -1, and wrong for one of 1: the larger of the two ratios is taken for all. "
    "Which of the two limits counts depends on the sign of the advantage."
)
def maximum_of_the_ratios(new, old, advantages, clip):
    ratio = (new - old).exp()
    return advantages * torch.maximum(ratio, ratio.clamp(1 - clip, 1 + clip))


@mistake(
    "The *gain* is kept between 1 - clip and 1 + clip. These are limits for the ratio, whatever the advantage is: "
    "clamp the ratio, then multiply."
)
def gain_clipped(new, old, advantages, clip):
    return ((new - old).exp() * advantages).clamp(1 - clip, 1 + clip)


@mistake(
    "A gain is compared with a ratio here: the second of the two lacks its advantage. Multiply both by it, and then "
    "take the smaller."
)
def second_without_the_advantage(new, old, advantages, clip):
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip))


@mistake("All signs are flipped. These are to be the gains, which training makes larger; a loss would be minus them.")
def signs_flipped(new, old, advantages, clip):
    return -clipped_surrogate(new, old, advantages, clip)


@mistake(
    "`new / old` divides logarithms by each other. The ratio of two probabilities is the exponential of the difference "
    "of their logarithms."
)
def ratio_of_the_logarithms(new, old, advantages, clip):
    return minimum_of_both_products(new / old, advantages, 1 - clip, 1 + clip)


@mistake(
    "The sign of the advantage is lost, so tokens that did harm are made likelier too. Multiply by the advantage as it "
    "is, without `abs`."
)
def absolute_advantage(new, old, advantages, clip):
    ratio = (new - old).exp()
    return torch.minimum(ratio, ratio.clamp(1 - clip, 1 + clip)) * advantages.abs()


@mistake("1 + clip is the limit for every token here. For an advantage below 0 the limit is 1 - clip, from below.")
def one_limit_for_all(new, old, advantages, clip):
    return torch.minimum((new - old).exp() * advantages, (1 + clip) * advantages)


@mistake(
    "Advantages above 0 are right. Those below 0 are limited in both directions: a token that has moved the wrong way "
    "has no gradient, and never comes back. Keep its ratio at 1 - clip or more, without an upper limit."
)
def clipped_on_both_sides_below_0(new, old, advantages, clip):
    clipped = (new - old).exp().clamp(1 - clip, 1 + clip) * advantages
    return torch.where(advantages > 0, clipped_surrogate(new, old, advantages, clip), clipped)


@mistake("The limits are exchanged: `clamp` takes the lower one first, `clamp(1 - clip, 1 + clip)`.")
def limits_exchanged(new, old, advantages, clip):
    return minimum_of_both_products((new - old).exp(), advantages, 1 + clip, 1 - clip)


EXERCISE = Exercise(
    id="clipped_surrogate",
    title="PPO's limit, with a fault",
    points=2,
    minutes=8,
    difficulty=2,
    kind="debug",
    hints=(
        "Try advantages of -1 with ratios from 0.5 to 1.5, and look at the gradient. Which of these tokens have gone "
        "the right way, and which of them are pushed on?",
        "With an advantage of -1 the right way is down, and the limit is 1 - clip. A minimum of the ratios does not "
        "know the sign of the advantage. What if both, the ratio and the limited ratio, are multiplied by the "
        "advantage before they are compared?",
    ),
    reference=clipped_surrogate,
    cases=cases,
    run_case=call_and_differentiate_only(0),  # `new` alone is trained
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, From one reward to many tokens",
)
