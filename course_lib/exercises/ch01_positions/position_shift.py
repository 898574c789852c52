"""A step is a rotation: the matrix that moves every sinusoidal position k places on."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def position_shift(k, d):
    angle = k * 10000.0 ** (-torch.arange(0, d, 2) / d)
    even = torch.arange(0, d, 2)
    shift = torch.zeros(d, d)
    shift[even, even], shift[even, even + 1] = angle.cos(), angle.sin()
    shift[even + 1, even], shift[even + 1, even + 1] = -angle.sin(), angle.cos()
    return shift


def cases(rng):
    k, once, back = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((8, 30), (3, 40), (3, 30)))
    d, wide = (2 * int(torch.randint(3, 9, (), generator=rng)) for _ in range(2))
    return [
        Case("one step in 6 dimensions", (1, 6)),
        Case("no step changes nothing", (0, 4), expected=torch.eye(4)),
        Case(f"{k} steps in {d} dimensions", (k, d)),
        Case("2 dimensions: one rotation", (once, 2)),
        Case(f"{back} steps back: k is negative", (-back, wide)),
    ]


@alternative
def from_blocks(k, d):
    angles = [k / 10000 ** (2 * i / d) for i in range(d // 2)]
    return torch.block_diag(*(torch.tensor([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) for a in angles))


@alternative
def by_loops(k, d):
    shift = torch.zeros(d, d)
    for i in range(d // 2):
        angle = k * 10000 ** (-2 * i / d)
        shift[2 * i, 2 * i] = math.cos(angle)
        shift[2 * i, 2 * i + 1] = math.sin(angle)
        shift[2 * i + 1, 2 * i] = -math.sin(angle)
        shift[2 * i + 1, 2 * i + 1] = math.cos(angle)
    return shift


@mistake("This steps back, from t + k to t: exchange the signs of the sines.")
def steps_back(k, d):
    return position_shift(k, d).T


@mistake("All pairs turn by the same angle here; pair i turns by k * 10000**(-2i/d), so later pairs turn less.")
def same_angle_for_all_pairs(k, d):
    return torch.block_diag(*[position_shift(k, 2)] * (d // 2))


@mistake("This makes one step whatever k is: multiply the angle by k.")
def one_step(k, d):
    return position_shift(1, d)


@mistake("Right for the pairs (i, i + d/2). In `sinusoidal` the two of a pair are neighbours: 2i and 2i + 1.")
def pairs_of_halves(k, d):
    order = torch.cat((torch.arange(0, d, 2), torch.arange(1, d, 2)))
    return position_shift(k, d)[order][:, order]


def blocks(k, d, block, exponent=-2.0):
    """The matrix that has on its diagonal what `block` makes of the cosine and the sine of each pair's angle."""
    angles = [k * 10000.0 ** (exponent * i / d) for i in range(d // 2)]
    return torch.block_diag(*(torch.tensor(block(math.cos(a), math.sin(a))) for a in angles))


def rotation(cos, sin):
    return [[cos, sin], [-sin, cos]]


SAME_SIGN = (
    "Both sines have the same sign, and that is no rotation. Look at the two addition formulas: one of them has a "
    "plus, the other a minus."
)


@mistake(SAME_SIGN)
def both_signs_plus(k, d):
    return blocks(k, d, lambda cos, sin: [[cos, sin], [sin, cos]])


@mistake(SAME_SIGN)
def both_signs_minus(k, d):
    return blocks(k, d, lambda cos, sin: [[cos, -sin], [-sin, cos]])


@mistake(
    "Sines and cosines have changed places: without a step (k = 0) nothing may move, so the cosines, which are 1 then, "
    "belong on the diagonal."
)
def sines_on_the_diagonal(k, d):
    return blocks(k, d, lambda cos, sin: [[sin, cos], [cos, -sin]])


@mistake("These are the cosines alone. The sine of a sum contains the other one of the pair, too: it has two terms.")
def cosines_alone(k, d):
    return blocks(k, d, lambda cos, sin: [[cos, 0.0], [0.0, cos]])


@mistake("Later pairs turn too slowly: `range(0, d, 2)` counts 2i already. Leave out the other 2.")
def exponent_doubled(k, d):
    return blocks(k, d, rotation, exponent=-4.0)


@mistake("Later pairs turn too fast: the 2 is missing in 10000**(-2i/d).")
def exponent_halved(k, d):
    return blocks(k, d, rotation, exponent=-1.0)


@mistake("Later pairs turn faster here, and they should turn less: the exponent is negative.")
def frequencies_grow(k, d):
    return blocks(k, d, rotation, exponent=2.0)


@mistake(
    "Only the first pair is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_pair_alone(k, d):
    shift = torch.zeros(d, d)
    shift[:2, :2] = position_shift(k, 2)
    return shift


@mistake("The pairs overlap: pair i fills rows and columns 2i and 2i + 1, so that the next one begins behind both.")
def pairs_overlap(k, d):
    shift = torch.zeros(d, d)
    for i in range(d // 2):
        shift[i : i + 2, i : i + 2] = position_shift(k * 10000.0 ** (-2 * i / d), 2)
    return shift


@mistake("A step back goes forward here. Leave the sign of k as it is: the sine of a negative angle is negative.")
def sign_of_k_lost(k, d):
    return position_shift(abs(k), d)


@mistake(
    "The cosine and the sine are multiplied by the speed of the pair, 10000**(-2i/d). It belongs inside, in the "
    "*angle*: k times the speed."
)
def speed_outside_the_angle(k, d):
    speeds = [10000.0 ** (-2 * i / d) for i in range(d // 2)]
    return torch.block_diag(*(speed * torch.tensor(rotation(math.cos(k), math.sin(k))) for speed in speeds))


EXERCISE = Exercise(
    id="position_shift",
    title="A step is a rotation",
    points=3,
    minutes=12,
    difficulty=3,
    kind="derive",
    hints=(
        "Write sin(w(t + k)) and cos(w(t + k)) with the addition formulas: the factors are cos wk and sin wk.",
        "Pair i fills rows and columns 2i and 2i + 1, and the rest is 0. Its four numbers take (sin wt, cos wt) to "
        "(sin w(t + k), cos w(t + k)): read them off the addition formulas, a row from each.",
    ),
    reference=position_shift,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Vaswani et al. 2017, section 3.5: why they chose sinusoids",
    rtol=1e-4,
    atol=1e-4,
)
