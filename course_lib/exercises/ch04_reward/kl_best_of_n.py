"""How far the best of n replies is from what the model would have written, in nats (Stiennon et al. 2020)."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def kl_best_of_n(n):
    return math.log(n) - (n - 1) / n


def cases(rng):
    return [
        Case("best of 1", (1,)),
        Case("best of 2", (2,)),
        Case("best of a few", (int(torch.randint(3, 50, (1,), generator=rng)),)),
        Case("best of 10,000", (10000,)),
    ]


@alternative
def by_the_inverse(n):
    return 1 / n - 1 - math.log(1 / n)


@mistake("This is log n alone. Subtract (n - 1) / n; if you did, you may have written `//`, which rounds it down to 0.")
def logarithm_alone(n):
    return math.log(n)


@mistake("The second term is added. Subtract it: log n - (n - 1) / n.")
def second_term_added(n):
    return math.log(n) + (n - 1) / n


@mistake("The sign is flipped: log n comes first, since a KL divergence is never below 0.")
def sign_flipped(n):
    return (n - 1) / n - math.log(n)


@mistake("This takes the logarithm to base 2, which gives bits. In nats, the logarithm is the natural one: `math.log`.")
def base_2(n):
    return math.log2(n) - (n - 1) / n


@mistake("This takes the logarithm to base 10. In nats, the logarithm is the natural one: `math.log`.")
def base_10(n):
    return math.log10(n) - (n - 1) / n


@mistake("Nearly: this subtracts 1 / n. What is subtracted is (n - 1) / n, so that the best of 1 gives 0.")
def subtracts_1_over_n(n):
    return math.log(n) - 1 / n


@mistake("The brackets are missing: Python reads n - 1 / n as n - (1 / n). Write (n - 1) / n.")
def brackets_missing(n):
    return math.log(n) - (n - 1 / n)


@mistake("The brackets are missing: Python reads log n - n - 1 / n from left to right. Write (n - 1) / n.")
def no_brackets(n):
    return math.log(n) - n - 1 / n


@mistake("The brackets are in the wrong place: this divides log n as well. Write log n - (n - 1) / n.")
def all_divided(n):
    return (math.log(n) - (n - 1)) / n


@mistake("This multiplies log n by (n - 1) / n. Subtract it: log n - (n - 1) / n.")
def multiplied(n):
    return math.log(n) * (n - 1) / n


EXERCISE = Exercise(
    id="kl_best_of_n",
    title="How far does the best of n go?",
    points=1,
    minutes=4,
    difficulty=1,
    hints=(
        "Type in the formula above. The logarithm is the natural one.",
        "`math.log(n) - (n - 1) / n`",
    ),
    reference=kl_best_of_n,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, The best of n",
)
