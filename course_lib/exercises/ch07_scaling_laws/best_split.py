"""The best size and number of tokens for a budget of operations, from the derivative of a scaling law."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def best_split(budget, a, b, alpha, beta):
    product = budget / 6  # N D
    # A / N^alpha + B (N / product)^beta is lowest where alpha A / N^alpha = beta B (N / product)^beta.
    n = (alpha * a / (beta * b) * product**beta) ** (1 / (alpha + beta))
    return n, product / n


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    def law():
        return number(100, 600), number(300, 3000), number(0.25, 0.4), number(0.25, 0.4)

    same = number(0.25, 0.6)
    return [
        Case("by hand: size and tokens cost the same", (600.0, 1.0, 1.0, 0.5, 0.5), expected=(10.0, 10.0)),
        Case("by hand: a small model costs four times as much", (600.0, 4.0, 1.0, 1.0, 1.0), expected=(20.0, 5.0)),
        Case("the exponents are equal, the weights are not", (10 ** number(15, 20), 300.0, 900.0, same, same)),
        Case("the weights are equal, the exponents are not", (10 ** number(15, 20), 50.0, 50.0, 0.3, number(0.4, 0.5))),
        Case("a small budget", (10 ** number(12, 15), *law())),
        Case("a budget as of a large model", (10 ** number(21, 25), *law())),
    ]


@alternative
def in_logarithms(budget, a, b, alpha, beta):
    product = math.log(budget / 6)
    log_n = (math.log(alpha * a) - math.log(beta * b) + beta * product) / (alpha + beta)
    return math.exp(log_n), math.exp(product - log_n)


@alternative
def by_halving(budget, a, b, alpha, beta):
    # The derivative over ln N rises from below 0 to above it.
    product = math.log(budget / 6)
    low, high = product - 200, 200.0
    for _ in range(200):
        x = (low + high) / 2
        slope = beta * b * math.exp(-beta * (product - x)) - alpha * a * math.exp(-alpha * x)
        low, high = (x, high) if slope < 0 else (low, x)
    return math.exp(x), math.exp(product - x)


@mistake(
    "The two parts of the loss are made equal here. At the best split their *slopes* are equal: what the last doubling "
    "of either brings. The exponents belong in front."
)
def equal_parts(budget, a, b, alpha, beta):
    return best_split(budget, a / alpha, b / beta, alpha, beta)


@mistake("The six is missing. A budget pays for 6 N D operations.")
def without_six(budget, a, b, alpha, beta):
    return best_split(6 * budget, a, b, alpha, beta)


@mistake("This is 20 tokens for each parameter, whatever the law says. Derive the ratio from the law.")
def twenty_tokens(budget, a, b, alpha, beta):
    n = math.sqrt(budget / 6 / 20)
    return n, 20 * n


@mistake("The budget is divided evenly, N = D. That is the best only where both cost the same.")
def as_many_of_both(budget, a, b, alpha, beta):
    return math.sqrt(budget / 6), math.sqrt(budget / 6)


@mistake("The two results are exchanged: return N first, then D.")
def exchanged(budget, a, b, alpha, beta):
    return best_split(budget, a, b, alpha, beta)[::-1]


@mistake("The exponents of the budget are exchanged: N grows with the exponent beta / (alpha + beta).")
def growth_exchanged(budget, a, b, alpha, beta):
    n = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (budget / 6) ** (alpha / (alpha + beta))
    return n, budget / 6 / n


@mistake("The root is missing: both sides hold a power of N. Together N has the exponent alpha + beta.")
def without_the_root(budget, a, b, alpha, beta):
    n = alpha * a / (beta * b) * (budget / 6) ** beta
    return n, budget / 6 / n


EXERCISE = Exercise(
    id="best_split",
    title="The best size for a budget",
    points=3,
    minutes=15,
    difficulty=3,
    kind="derive",
    hints=(
        "Put D = C / (6 N) into the law, so that only N is left. Where is the derivative 0?",
        "`alpha * A / N**alpha = beta * B / D**beta`. With `D = C / 6 / N`, solve for N: it has the exponent "
        "`alpha + beta`.",
    ),
    reference=best_split,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, How to spend a budget",
    rtol=1e-6,
    atol=1e-6,
)
