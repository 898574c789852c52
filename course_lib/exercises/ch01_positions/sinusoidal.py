"""Sinusoidal positions (Vaswani et al. 2017, section 3.5)."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def sinusoidal(n, d):
    frequency = 10000.0 ** (-torch.arange(0, d, 2) / d)  # radians per position, one for each pair of dimensions
    angle = torch.arange(n)[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)  # sin, cos, sin, cos, ...


def cases(rng):
    n, alone, few = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((5, 30), (8, 60), (2, 5)))
    d, many = (2 * int(torch.randint(*bounds, (), generator=rng)) for bounds in ((5, 30), (20, 60)))
    return [
        Case("4 positions, 6 dimensions", (4, 6)),
        Case("position 0 is sin 0, cos 0, sin 0, ...", (1, 8), expected=torch.tensor([[0.0, 1.0] * 4])),
        Case("2 dimensions: sin t and cos t", (alone, 2)),
        Case(f"{n} positions, {d} dimensions", (n, d)),
        Case("more dimensions than positions", (few, many)),
    ]


@alternative
def by_slices(n, d):
    table = torch.empty(n, d)
    frequency = torch.exp(-math.log(10000.0) / d * torch.arange(0, d, 2))
    table[:, 0::2] = torch.sin(torch.outer(torch.arange(n, dtype=torch.float32), frequency))
    table[:, 1::2] = torch.cos(torch.outer(torch.arange(n, dtype=torch.float32), frequency))
    return table


@alternative
def by_loops(n, d):
    table = torch.zeros(n, d)
    for t in range(n):
        for i in range(d // 2):
            angle = t * 10000 ** (-2 * i / d)
            table[t, 2 * i] = math.sin(angle)
            table[t, 2 * i + 1] = math.cos(angle)
    return table


# The two halves of the right answer. Each mistake below gets one of them wrong.


def angles(n, d, exponent=-1.0):
    return torch.arange(n)[:, None] * 10000.0 ** (exponent * torch.arange(0, d, 2) / d)


def interleave(first, second):
    return torch.stack((first, second), dim=-1).flatten(1)


@mistake("The right numbers in another order: all sines, then all cosines. Interleave them: sin, cos, sin, cos.")
def not_interleaved(n, d):
    return torch.cat((angles(n, d).sin(), angles(n, d).cos()), dim=-1)


@mistake("Sine and cosine have changed places: even columns hold sines, odd columns cosines.")
def cosine_first(n, d):
    return interleave(angles(n, d).cos(), angles(n, d).sin())


@mistake("This converts the angles from degrees. Leave them as they are: they are radians already.")
def converted_from_degrees(n, d):
    angle = torch.deg2rad(angles(n, d))
    return interleave(angle.sin(), angle.cos())


@mistake("Your first row is position 1. Count from 0.")
def counts_from_one(n, d):
    return sinusoidal(n + 1, d)[1:]


@mistake("The angles shrink too slowly from column to column: the 2 is missing in 10000**(-2i/d).")
def exponent_halved(n, d):
    angle = angles(n, d, exponent=-0.5)
    return interleave(angle.sin(), angle.cos())


@mistake("The angles shrink too fast: `arange(0, d, 2)` is 0, 2, 4, ..., which is 2i already. Leave out the other 2.")
def exponent_doubled(n, d):
    angle = angles(n, d, exponent=-2.0)
    return interleave(angle.sin(), angle.cos())


OWN_FREQUENCY = (
    "Each column has a frequency of its own here; a sine and its cosine share one. `i` counts pairs of columns."
)


@mistake(OWN_FREQUENCY)
def own_frequency_in_each_column(n, d):
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(d) / d)
    return torch.where(torch.arange(d) % 2 == 0, angle.sin(), angle.cos())


@mistake(OWN_FREQUENCY)
def own_frequency_and_the_2(n, d):
    angle = torch.arange(n)[:, None] * 10000.0 ** (-2 * torch.arange(d) / d)
    return torch.where(torch.arange(d) % 2 == 0, angle.sin(), angle.cos())


# Such angles are large, and rounded to float32 they have other sines.
FREQUENCIES_GROW = "Your frequencies grow from column to column, and they should shrink: the exponent is negative."


@mistake(FREQUENCIES_GROW)
def frequencies_grow(n, d):
    angle = angles(n, d, exponent=1.0)
    return interleave(angle.sin(), angle.cos())


@mistake(FREQUENCIES_GROW)
def frequencies_grow_in_python(n, d):
    angle = torch.arange(n).double()[:, None] * 10000.0 ** (torch.arange(0, d, 2).double() / d)
    return interleave(angle.sin(), angle.cos()).float()


@mistake(
    "Only the first row is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_row_alone(n, d):
    table = sinusoidal(n, d)
    table[1:] = 0
    return table


@mistake("The first row is all 0, as when a loop begins at 1. Row 0 is position 0: its sines are 0, its cosines 1.")
def first_row_left_out(n, d):
    table = sinusoidal(n, d)
    table[0] = 0
    return table


@mistake("The columns overlap: pair i fills columns 2i and 2i + 1, so that the next pair begins behind both.")
def columns_overlap(n, d):
    angle, table = angles(n, d), torch.zeros(n, d)
    for i in range(d // 2):
        table[:, i], table[:, i + 1] = angle[:, i].sin(), angle[:, i].cos()
    return table


@mistake("All columns hold sines. Odd columns hold the cosine of the same angle.")
def sines_alone(n, d):
    return interleave(angles(n, d).sin(), angles(n, d).sin())


@mistake("The angles are multiplied by 2 pi. Leave them as they are: position times frequency is in radians already.")
def whole_turns(n, d):
    angle = 2 * math.pi * angles(n, d)
    return interleave(angle.sin(), angle.cos())


@mistake("This looks transposed: a row is a position, a column a dimension, (n, d).")
def transposed(n, d):
    return sinusoidal(n, d).T


@mistake(
    "Python reads `10000 ** -2 * i / d` as (10000 ** -2) * i / d: a power comes before a product. Put brackets around "
    "the whole exponent."
)
def exponent_without_brackets(n, d):
    angle = torch.arange(n)[:, None] * 10000.0**-2 * torch.arange(d // 2) / d
    return interleave(angle.sin(), angle.cos())


@mistake(FREQUENCIES_GROW)
def divided_by_the_frequency(n, d):
    angle = torch.arange(n)[:, None] / 10000.0 ** (-torch.arange(0, d, 2) / d)
    return interleave(angle.sin(), angle.cos())


@mistake("All columns hold cosines. Even columns hold the sine of the same angle.")
def cosines_alone(n, d):
    return interleave(angles(n, d).cos(), angles(n, d).cos())


EXERCISE = Exercise(
    id="sinusoidal",
    title="Sinusoidal positions",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "Make the angles first, as an n x d/2 table: position times frequency. Each frequency serves two columns.",
        "Put the sine and the cosine of each angle side by side in a new last axis of length 2 (`torch.stack`). Which "
        "axes do you then join, so that each sine is followed by its cosine?",
    ),
    reference=sinusoidal,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Vaswani et al. 2017, section 3.5",
    rtol=1e-4,
    atol=1e-4,  # a frequency that is off by one float32 rounding shows as 1e-5 at position 30
)
