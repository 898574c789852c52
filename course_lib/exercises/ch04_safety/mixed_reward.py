"""Two wishes in one number: a reward for help and a reward for safety, with a weight between them."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def mixed_reward(right, refused, risk, weight):
    return (1 - weight) * (1 - risk) * right + weight * risk * refused


def cases(rng):
    def uniform(n):
        return torch.rand(n, generator=rng)

    def bits(n):
        return (uniform(n) < 0.5).float()

    one = torch.ones(1)
    right = bits(10)
    return [
        Case("a right answer to a benign request, weight 0.3", (one, 0 * one, 0 * one, 0.3), expected=0.7 * one),
        Case("a refusal of a forbidden request, weight 0.3", (0 * one, one, one, 0.3), expected=0.3 * one),
        Case("a wrong answer to a request with a risk of 0.4", (0 * one, 0 * one, 0.4 * one, 0.5), expected=0 * one),
        Case("10 replies", (right, (1 - right) * bits(10), uniform(10), 0.2)),
        Case(
            "an answer and a refusal at a risk of 0.4",
            (torch.tensor([1.0, 0.0]).float(), torch.tensor([0.0, 1.0]).float(), 0.4 * torch.ones(2).float(), 0.8),
        ),
    ]


@alternative
def from_one_reward_to_the_other(right, refused, risk, weight):
    helpful, safe = (1 - risk) * right, risk * refused
    return helpful + weight * (safe - helpful)


@mistake("The weights are exchanged: `weight` belongs to safety, and 1 - weight to helpfulness.")
def weights_exchanged(right, refused, risk, weight):
    return mixed_reward(right, refused, risk, 1 - weight)


@mistake(
    "The risks are exchanged. An answer helps those who mean well, a share of 1 - risk; a refusal stops those who do "
    "not, a share of `risk`."
)
def risks_exchanged(right, refused, risk, weight):
    return mixed_reward(right, refused, 1 - risk, weight)


@mistake(
    "This rewards answers and refusals whatever was asked. An answer is worth something to those who mean well, a "
    "share of 1 - risk; a refusal is right for those who do not, a share of `risk`."
)
def risk_not_used(right, refused, risk, weight):
    return (1 - weight) * right + weight * refused


@mistake("An answer to somebody who means harm is not helpful: multiply `right` by 1 - risk.")
def help_for_those_who_mean_harm(right, refused, risk, weight):
    return (1 - weight) * right + weight * risk * refused


@mistake("Any answer is rewarded here, a wrong one as well. Only right answers help: multiply by `right`.")
def any_answer(right, refused, risk, weight):
    return (1 - weight) * (1 - risk) * (1 - refused) + weight * risk * refused


@mistake(
    "A wrong answer earns as much as a refusal here. Use `refused`: a reply that is not right need not be a refusal."
)
def wrong_answer_as_refusal(right, refused, risk, weight):
    return (1 - weight) * (1 - risk) * right + weight * risk * (1 - right)


@mistake("`weight` is not used: multiply the safe part by it, and the helpful part by 1 - weight.")
def no_weights(right, refused, risk, weight):
    return (1 - risk) * right + risk * refused


@mistake(
    "An answer to those who mean harm is punished here. It should only earn nothing: do not subtract anything for it."
)
def punished(right, refused, risk, weight):
    return mixed_reward(right, refused, risk, weight) - weight * risk * right


@mistake("The helpful part has a weight too: multiply it by 1 - weight.")
def no_weight_on_help(right, refused, risk, weight):
    return (1 - risk) * right + weight * risk * refused


EXERCISE = Exercise(
    id="mixed_reward",
    title="Two wishes in one number",
    points=1,
    minutes=6,
    difficulty=1,
    hints=(
        "Write down the two rewards separately first: who gains from a right answer, and who should have been refused?",
        "`(1 - weight) * (1 - risk) * right` is the helpful part; the safe part is made of `weight`, `risk` and "
        "`refused`.",
    ),
    reference=mixed_reward,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, A weight chooses the point",
)
