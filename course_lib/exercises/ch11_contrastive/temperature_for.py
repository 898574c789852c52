"""Which temperature lets perfect vectors reach a given contrastive loss: a formula to be derived and solved for it."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def temperature_for(loss, pairs):
    return 1 / (math.log(pairs - 1) - math.log(math.expm1(loss)))


def cases(rng):
    u, v, w = torch.rand(3, generator=rng).tolist()
    pairs, some = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((100, 200), (8, 30)))
    return [
        Case("three pairs, as by hand", (math.log1p(2 / math.e), 3), expected=1.0),
        Case("two pairs, and a loss of about 0.1", (0.08 + 0.04 * u, 2)),
        Case(f"{pairs} pairs, and a loss of about 0.01", (0.008 + 0.004 * v, pairs)),
        Case("32,768 pairs, and a loss of about a billionth", (1e-9 * (0.8 + 0.4 * w), 32768)),
        Case(f"{some} pairs, and a loss that is half of the worst", (math.log(some) / 2, some)),
    ]


@alternative
def by_bisection(loss, pairs):
    low, high = 1e-3, 1e3
    for _ in range(200):
        middle = math.sqrt(low * high)
        others = (pairs - 1) * math.exp(-1 / middle)
        low, high = (low, middle) if math.log1p(others) > loss else (middle, high)
    return middle


@alternative
def from_the_probability(loss, pairs):
    odds = math.exp(-loss) / -math.expm1(-loss)  # of the right caption against all others together
    return 1 / math.log(odds * (pairs - 1))


@alternative
def step_by_step(loss, pairs):
    # e**loss = 1 + (pairs - 1) * e**(-1 / temperature)
    others = math.expm1(loss)
    one_other = others / (pairs - 1)
    minus_one_over = math.log(one_other)
    return -1 / minus_one_over


@mistake("This is 1 divided by the temperature. The cosines are *divided* by the temperature, so turn it over.")
def turned_over(loss, pairs):
    return 1 / temperature_for(loss, pairs)


@mistake(
    "This counts all pairs as wrong captions. One of them is right: the sum in the denominator has one term with the "
    "cosine 1, and one less than `pairs` with the cosine 0."
)
def all_are_wrong(loss, pairs):
    return temperature_for(loss, pairs + 1)


@mistake(
    "The right caption is missing in the sum below the fraction: a softmax divides by *all* terms, its own too. So "
    "e to the loss is 1 plus what the others bring, and the 1 has to be taken off."
)
def without_its_own(loss, pairs):
    return 1 / (math.log(pairs - 1) - loss)


@mistake("This takes the loss for a probability. The loss is minus the logarithm of the probability.")
def loss_as_probability(loss, pairs):
    p = min(loss, 0.999)
    return 1 / math.log(p * (pairs - 1) / (1 - p))


@mistake(
    "The loss stands here where e^loss - 1 belongs. The two are alike only for a small loss: `math.expm1(loss)`, or "
    "`math.exp(loss) - 1`."
)
def without_the_exponential(loss, pairs):
    return 1 / (math.log(pairs - 1) - math.log(loss))


@mistake("This takes logarithms to base 2. The loss is in nats: `math.log`.")
def in_bits(loss, pairs):
    return temperature_for(loss, pairs) * math.log(2)


@mistake("The sign is wrong, and no temperature is below 0. ln(e^loss - 1) - ln(pairs - 1) is *minus* 1 / temperature.")
def wrong_sign(loss, pairs):
    return -temperature_for(loss, pairs)


@mistake(
    "This is minus 1 divided by the temperature. ln((e^loss - 1) / (pairs - 1)) = -1 / temperature: turn it over, and "
    "take off the sign."
)
def minus_one_over(loss, pairs):
    return -1 / temperature_for(loss, pairs)


@mistake(
    "There is only one wrong caption in the sum here, whatever `pairs` is. All of them bring a term: pairs - 1 times "
    "e^0."
)
def one_wrong_caption(loss, pairs):
    return -1 / math.log(math.expm1(loss))


@mistake(
    "This is the loss as a share of the largest one. The loss does not fall in proportion with the temperature: write "
    "down the probability of the right caption first."
)
def in_proportion(loss, pairs):
    return loss / math.log(pairs)


@mistake("`a - b / c` divides b alone. Put brackets around `pairs - 1`.")
def without_brackets(loss, pairs):
    return 1 / math.log(pairs - 1 / math.expm1(loss))


@mistake("1 is added to e^loss here. e^loss is 1 plus what the wrong captions bring, so take the 1 *off*.")
def one_added(loss, pairs):
    return 1 / (math.log(pairs - 1) - math.log(math.exp(loss) + 1))


@mistake("This is close, as the best of many temperatures that were tried is. Solve the equation: then it is exact.")
def to_a_thousandth(loss, pairs):
    def off(temperature):
        return abs(math.log1p((pairs - 1) * math.exp(-1 / temperature)) - loss)

    return min((k / 1000 for k in range(20, 5000)), key=off)


@mistake(
    "`a / b - 1` takes the 1 off the quotient. It belongs to e^loss, below the fraction: put brackets around that "
    "difference."
)
def one_off_the_quotient(loss, pairs):
    return 1 / math.log((pairs - 1) / math.exp(loss) - 1)


EXERCISE = Exercise(
    id="temperature_for",
    title="How low a temperature?",
    points=2,
    minutes=10,
    difficulty=3,
    kind="derive",
    hints=(
        "In each row one similarity is 1 / temperature, and all others are 0. What is the probability of the right "
        "caption? Its surprise is ln(1 + (pairs - 1) e^(-1 / temperature)). Set this equal to the loss, and solve.",
        "From there, e^loss - 1 = (pairs - 1) e^(-1 / temperature). Take logarithms of both sides, and watch the sign.",
    ),
    reference=temperature_for,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, How low a temperature?",
)
