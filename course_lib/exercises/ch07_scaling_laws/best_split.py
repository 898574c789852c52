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
        Case("a tiny budget", (10 ** number(3, 4), *law())),
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


@alternative
def step_by_step(budget, a, b, alpha, beta):
    product = budget / 6
    left = alpha * a  # / n**alpha
    right = beta * b / product**beta  # * n**beta
    power = left / right  # n**(alpha + beta)
    n = power ** (1 / (alpha + beta))
    d = product / n
    return n, d


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


@mistake(
    "You take the square root, whatever the exponents are. Both sides hold a power of N, together N**(alpha + beta): "
    "that is the root to take."
)
def square_root(budget, a, b, alpha, beta):
    n = math.sqrt(alpha * a / (beta * b) * (budget / 6) ** beta)
    return n, budget / 6 / n


@mistake("Powers of N that are multiplied *add* their exponents: take the root alpha + beta, not alpha times beta.")
def exponents_multiplied(budget, a, b, alpha, beta):
    n = (alpha * a / (beta * b) * (budget / 6) ** beta) ** (1 / (alpha * beta))
    return n, budget / 6 / n


@mistake("The root is missing: both sides hold a power of N. Together N has the exponent alpha + beta.")
def without_the_root(budget, a, b, alpha, beta):
    n = alpha * a / (beta * b) * (budget / 6) ** beta
    return n, budget / 6 / n


@mistake(
    "The budget has the right power, but the ratio of the weights got the same one. Solve for N once more: both sides "
    "hold a power of it, together N**(alpha + beta). Which power does the ratio have then?"
)
def one_power_for_both(budget, a, b, alpha, beta):
    n = (alpha * a / (beta * b) * budget / 6) ** (beta / (alpha + beta))
    return n, budget / 6 / n


@mistake(
    "The budget has the right power, and the ratio of the weights has none. It stands under the same root: N has the "
    "exponent alpha + beta when you solve for it."
)
def ratio_without_a_root(budget, a, b, alpha, beta):
    n = alpha * a / (beta * b) * (budget / 6) ** (beta / (alpha + beta))
    return n, budget / 6 / n


@mistake(
    "The budget is not raised to beta before the root is taken. It comes from D, which stands in the law as "
    "D**beta: put C / (6 N) there, and keep its power."
)
def budget_without_its_power(budget, a, b, alpha, beta):
    n = (alpha * a / (beta * b) * budget / 6) ** (1 / (alpha + beta))
    return n, budget / 6 / n


@mistake(
    "The weights a and b are turned round: a large a makes a *small* model dear, so N has to grow with a, and fall "
    "with b."
)
def weights_turned_round(budget, a, b, alpha, beta):
    n = (beta * b / (alpha * a)) ** (1 / (alpha + beta)) * (budget / 6) ** (beta / (alpha + beta))
    return n, budget / 6 / n


@mistake(
    "N and D do not cost the budget: 6 N D has to be `budget`. If the ratio of the weights makes N larger, it makes D "
    "smaller: find N, then D is budget / 6 / N."
)
def both_multiplied(budget, a, b, alpha, beta):
    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    return tuple(ratio * (budget / 6) ** (power / (alpha + beta)) for power in (beta, alpha))


@mistake("N is right. D is not: with N it has to cost the budget, 6 N D, and the six is missing there.")
def tokens_without_six(budget, a, b, alpha, beta):
    n = best_split(budget, a, b, alpha, beta)[0]
    return n, budget / n


@mistake("`x ** 1 / y` is x divided by y: the power comes first. A root is `x ** (1 / y)`, with brackets.")
def power_before_division(budget, a, b, alpha, beta):
    n = alpha * a / (beta * b) * (budget / 6) ** beta / (alpha + beta)
    return n, budget / 6 / n


@mistake("`alpha * a / beta * b` multiplies by b: put brackets around `beta * b`.")
def multiplied_by_b(budget, a, b, alpha, beta):
    return best_split(budget, a, 1 / b, alpha, beta)


@mistake(
    "The slopes over N and over D are made equal, as if one more parameter cost what one more token does. Along the "
    "budget D falls while N rises: put D = C / (6 N) into the law *before* you take the derivative."
)
def slopes_without_the_budget(budget, a, b, alpha, beta):
    n = (alpha * a / (beta * b) * (budget / 6) ** (beta + 1)) ** (1 / (alpha + beta + 2))
    return n, budget / 6 / n


@mistake(
    "The exponents in front are exchanged: the derivative of A / N**alpha has alpha in front, that of B's part beta."
)
def front_exchanged(budget, a, b, alpha, beta):
    n = (beta * a / (alpha * b) * (budget / 6) ** beta) ** (1 / (alpha + beta))
    return n, budget / 6 / n


@mistake("These are whole numbers. Leave the fractions: the product of the two has to be budget / 6.")
def whole_numbers(budget, a, b, alpha, beta):
    return tuple(round(x) for x in best_split(budget, a, b, alpha, beta))


@mistake(
    "This is close, as the best of many sizes that were tried is. Find where the derivative is 0: then it is exact, "
    "and needs no loop."
)
def by_trying(budget, a, b, alpha, beta):
    product = budget / 6
    sizes = [product ** (i / 1000) for i in range(1, 1000)]
    n = min(sizes, key=lambda n: a / n**alpha + b / (product / n) ** beta)
    return n, product / n


@mistake("This is N alone. Return two numbers, N and D.")
def size_alone(budget, a, b, alpha, beta):
    return best_split(budget, a, b, alpha, beta)[0]


@mistake(
    "N and D together cost the budget, but in N itself the six is missing: it is too large, and D too small. Where you "
    "put N into the law, the product of the two is `budget / 6`."
)
def size_without_six(budget, a, b, alpha, beta):
    n = best_split(6 * budget, a, b, alpha, beta)[0]
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
        "The derivative is 0 where `alpha * A / N**alpha = beta * B / D**beta`. Put `D = C / 6 / N` in once more, and "
        "bring all that has N in it to one side.",
    ),
    reference=best_split,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, How to spend a budget",
    rtol=1e-6,
    atol=1e-6,
)
