"""The loss of a reward model: the surprise at what people preferred (Bradley and Terry 1952)."""

import torch
from torch import nn

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def bradley_terry_loss(chosen, rejected):
    return -nn.functional.logsigmoid(chosen - rejected).mean()


def cases(rng):
    return [
        Case("equal rewards", (torch.tensor([1.0, -2.0]), torch.tensor([1.0, -2.0]))),
        Case("rewards 200 apart, both ways", (torch.tensor([200.0, 0.0]), torch.tensor([0.0, 200.0]))),
        Case("8 pairs", (torch.randn(8, generator=rng), torch.randn(8, generator=rng))),
        Case("one pair", (2 * torch.randn(1, generator=rng), torch.randn(1, generator=rng))),
    ]


@alternative
def by_logaddexp(chosen, rejected):
    return (torch.logaddexp(chosen, rejected) - chosen).mean()


@mistake(
    "This rewards the model for preferring the rejected reply. The difference inside the sigmoid is chosen - rejected."
)
def other_way_round(chosen, rejected):
    return bradley_terry_loss(rejected, chosen)


@mistake("This is the sum over the pairs; return their mean.")
def sum_instead_of_mean(chosen, rejected):
    return bradley_terry_loss(chosen, rejected) * len(chosen)


@mistake("The minus sign is missing. A loss falls when things get better, so it is minus the log-sigmoid.")
def sign_flipped(chosen, rejected):
    return -bradley_terry_loss(chosen, rejected)


@mistake(
    "This is 1 minus the probability of what people chose. The loss is the surprise at it: minus the *logarithm* of "
    "the probability."
)
def no_logarithm(chosen, rejected):
    return (1 - torch.sigmoid(chosen - rejected)).mean()


@mistake(
    "This is the difference of the rewards alone, which is no probability. Take minus the logarithm of its *sigmoid*."
)
def no_sigmoid(chosen, rejected):
    return (rejected - chosen).mean()


@mistake(
    "Right on paper. But the exponential of a reward of 200 is infinite in float32. `nn.functional.logsigmoid` of the "
    "difference needs no such exponential."
)
def ratio_of_exponentials(chosen, rejected):
    return -torch.log(chosen.exp() / (chosen.exp() + rejected.exp())).mean()


@mistake(
    "Right on paper. But at a difference of -200 the sigmoid rounds to 0 (or, written as `log(1 + exp(...))`, the "
    "exponential to infinity), and the logarithm of that is infinite. `nn.functional.logsigmoid` computes both in one "
    "step, without that."
)
def sigmoid_before_logarithm(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected)).mean()


@mistake("This is minus the probability of what people chose. The loss is minus its *logarithm*.")
def probability(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).mean()


@mistake("The mean is taken too early, over the differences. Work out the loss of each pair, then take the mean.")
def of_the_mean_difference(chosen, rejected):
    return bradley_terry_loss(chosen.mean(), rejected.mean())


@mistake("The mean is taken too early, over the probabilities: take the logarithm of each pair's first, then the mean.")
def logarithm_of_the_mean(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected).mean())


def with_a_small_number(small):
    @mistake(
        "A small number inside the logarithm hides the infinity, not the error. At a difference of -200 the loss "
        "should be 200; with such help it is about 20, and there is no gradient left to learn from. "
        "`nn.functional.logsigmoid` needs none."
    )
    def small_number_added(chosen, rejected):
        return -torch.log(torch.sigmoid(chosen - rejected) + small).mean()

    return small_number_added


small_numbers = [with_a_small_number(10.0**-n) for n in range(6, 13)]


EXERCISE = Exercise(
    id="bradley_terry_loss",
    title="Learn from a comparison",
    points=1,
    minutes=6,
    difficulty=1,
    kind="code",
    hints=(
        "The probability of what people chose is the sigmoid of chosen - rejected. The loss is minus its logarithm.",
        "`-nn.functional.logsigmoid(chosen - rejected).mean()`. Taking the sigmoid first and its logarithm afterwards "
        "breaks where the rewards are far apart.",
    ),
    reference=bradley_terry_loss,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=(*mistakes_in(__name__), *small_numbers),
    see="Chapter 4, From comparisons to numbers",
)
