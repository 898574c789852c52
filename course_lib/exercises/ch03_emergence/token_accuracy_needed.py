"""How good must each token be, so that whole answers are right this often?"""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def token_accuracy_needed(exact, length):
    return exact ** (1 / length)


def cases(rng):
    exact, alone = (0.1 + 0.8 * torch.rand(2, generator=rng)).tolist()
    return [
        Case("half of all answers of 8 tokens", (0.5, 8)),
        Case("answers of one token", (alone, 1)),
        Case("a quarter of all answers of 2 tokens", (0.25, 2)),
        Case("answers of 100 tokens", (exact, 100)),
    ]


@alternative
def by_logarithms(exact, length):
    return math.exp(math.log(exact) / length)


@mistake("This is the way back: how often an answer is right if each token is right with probability `exact`.")
def way_back(exact, length):
    return exact**length


@mistake("The probabilities of independent tokens are multiplied, not added, so undo a power: take a root.")
def divided_by_the_length(exact, length):
    return exact / length


@mistake("Close for exact values near 1, but an approximation: solve p to the power of `length` = exact for p.")
def linear_approximation(exact, length):
    return 1 - (1 - exact) / length


@mistake(
    "At this accuracy, a share `exact` of the answers has *at least one* right token. All of them have to be right: "
    "solve p to the power of `length` = exact for p."
)
def at_least_one_token(exact, length):
    return 1 - (1 - exact) ** (1 / length)


@mistake("This is the square root; it has to be the length-th root, `exact ** (1 / length)`.")
def square_root(exact, length):
    return math.sqrt(exact)


EXERCISE = Exercise(
    id="token_accuracy_needed",
    title="How good must each token be?",
    points=1,
    minutes=5,
    difficulty=1,
    kind="derive",
    hints=(
        "If each of L tokens is right with probability p, all of them are with probability p to the power of L.",
        "Solve p ** length = exact for p: the length-th root, `exact ** (1 / length)`.",
    ),
    reference=token_accuracy_needed,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Right or wrong, or part by part",
)
