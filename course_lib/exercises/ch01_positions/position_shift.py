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


EXERCISE = Exercise(
    id="position_shift",
    title="A step is a rotation",
    points=3,
    minutes=12,
    difficulty=3,
    kind="derive",
    hints=(
        "Write sin(w(t + k)) and cos(w(t + k)) with the addition formulas: the factors are cos wk and sin wk.",
        "Pair i fills rows and columns 2i, 2i+1 with [[cos, sin], [-sin, cos]] of k * 10000**(-2i/d); the rest is 0.",
    ),
    reference=position_shift,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Vaswani et al. 2017, section 3.5: why they chose sinusoids",
    rtol=1e-4,
    atol=1e-4,
)
