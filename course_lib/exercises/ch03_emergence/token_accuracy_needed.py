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


@alternative
def by_halving(exact, length):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle**length < exact:
            low = middle
        else:
            high = middle
    return high


@mistake("This is the way back: how often an answer is right if each token is right with probability `exact`.")
def way_back(exact, length):
    return exact**length


@mistake(
    "This is `exact` divided by `length`. Probabilities of independent tokens are multiplied, so what has to be undone "
    "is a power. (A power comes before a division: `x ** 1 / n` is x / n. Mind the brackets.)"
)
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


@mistake(
    "This is the square root, which is right for two tokens. With `length` of them it has to be the length-th root."
)
def square_root(exact, length):
    return math.sqrt(exact)


@mistake("This is the logarithm of the right answer: `math.exp` undoes it.")
def logarithm(exact, length):
    return math.log(exact) / length


@mistake(
    "This solves for the exponent, and what is sought is the number below it: p to the power of `length` is `exact`. "
    "Take a root."
)
def solved_for_the_exponent(exact, length):
    return math.log(exact) / math.log(length)


@mistake("`1 // length` is 0 for more than one token, since `//` rounds down, and any number to the power of 0 is 1.")
def rounded_down(exact, length):
    return exact ** (1 // length)


@mistake("This is the share of *wrong* tokens. How many are right is asked for.")
def share_of_wrong_tokens(exact, length):
    return 1 - exact ** (1 / length)


@mistake("Base and exponent are exchanged: `exact` is what a power of p comes to, and `length` says which power.")
def exchanged(exact, length):
    return length ** (1 / exact)


@mistake("`exact` is multiplied by `length`. All tokens have to be right, so each must be right *more* often than all.")
def multiplied(exact, length):
    return exact * length


@mistake("This is in percent. A probability lies between 0 and 1.")
def percent(exact, length):
    return 100 * exact ** (1 / length)


EXERCISE = Exercise(
    id="token_accuracy_needed",
    title="How good must each token be?",
    points=1,
    minutes=5,
    difficulty=1,
    kind="derive",
    hints=(
        "If each of L tokens is right with probability p, all of them are with probability p to the power of L.",
        "p ** length = exact, so p is a root of `exact`. Which one? A square root is a power, too: that of 1/2.",
    ),
    reference=token_accuracy_needed,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Right or wrong, or part by part",
)
