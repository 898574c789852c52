"""Rotary position encoding (Su et al. 2021, section 3)."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def rope(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = positions[:, None] * frequency  # n positions, half angles each
    cos, sin = angle.cos(), angle.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def cases(rng):
    x, key = torch.randn(2, 5, 8, generator=rng), torch.randn(2, 5, 8, generator=rng)
    spread = torch.randperm(50, generator=rng)[:5] + 10
    return [
        Case("positions 0 to 4", (x, torch.arange(5))),
        Case("batch, heads, 6 positions, 12 dimensions", (torch.randn(2, 3, 6, 12, generator=rng), torch.arange(6))),
        Case("positions that do not start at 0", (x, spread)),
        Case("another base: 100", (x, torch.arange(5)), {"base": 100.0}),
        Case("positions between the whole numbers", (x, torch.arange(5) / 2)),
        Case("scores stay when both move by 40", (x, torch.arange(5)), {"key": key}),
    ]


def run_case(subject, x, positions, key=None, **base):
    """Value and gradient in x; with a key, the scores, and how they change when query and key both move by 40 places.

    The change alone would be 0 also for an answer that knows no positions.
    """
    if key is not None:
        before = rotated_scores(subject, x, key, positions)
        return {"scores": before, "change": rotated_scores(subject, x, key, positions + 40) - before}
    if positions.is_floating_point():  # positions are not learned, so their gradient is not compared
        return subject(x, positions, **base)
    return subject.gradients(x, positions, **base)


def rotated_scores(subject, query, key, positions):
    return subject(query, positions) @ subject(key, positions).transpose(-1, -2)


@alternative
def by_complex_numbers(x, positions, base=10000.0):
    d = x.shape[-1]
    angle = torch.outer(positions.to(x.dtype), 1 / base ** (torch.arange(0, d, 2, dtype=x.dtype) / d))
    turned = torch.complex(x[..., : d // 2], x[..., d // 2 :]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), dim=-1)


@alternative
def as_in_llama(x, positions, base=10000.0):
    angle = positions.float()[:, None] * torch.exp(-math.log(base) * torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    angle = torch.cat((angle, angle), dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * angle.cos() + torch.cat((-second, first), dim=-1) * angle.sin()


# The two halves of the right answer, for the mistakes below.


def angles(x, positions, base, exponent=-2.0):
    return positions[:, None] * base ** (exponent * torch.arange(x.shape[-1] // 2, dtype=x.dtype) / x.shape[-1])


def rotate(x, angle):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()), dim=-1)


@mistake(
    "Well rotated, and paired as in the paper: neighbours (0, 1), (2, 3). The published weights of Llama and SmolLM2 "
    "pair i with i + d/2, and so do we. Both have the relative property."
)
def pairs_of_neighbours(x, positions, base=10000.0):
    even_then_odd = torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)
    turned = rope(even_then_odd, positions, base)
    return torch.stack(turned.chunk(2, dim=-1), dim=-1).flatten(-2)


@mistake(
    "Two conventions are mixed: the angles are in the order for neighbours (a, a, b, b), but you swap halves, and that "
    "needs them in the order a, b, a, b."
)
def mixed_layouts(x, positions, base=10000.0):
    angle = angles(x, positions, base).repeat_interleave(2, dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * angle.cos() + torch.cat((-second, first), dim=-1) * angle.sin()


@mistake("This turns backwards. Scores come out the same, but published weights would not fit: exchange the signs.")
def turns_backwards(x, positions, base=10000.0):
    return rope(x, -positions, base)


@mistake("One sign is off: a rotation has a minus in the first half and a plus in the second.")
def one_sign_off(x, positions, base=10000.0):
    cos, sin = angles(x, positions, base).cos(), angles(x, positions, base).sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos - first * sin), dim=-1)


@mistake("Only the first half is turned; the second has to move with it.")
def only_the_first_half(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    return torch.cat((rope(x, positions, base)[..., :half], x[..., half:]), dim=-1)


@mistake("The frequencies shrink too slowly: the 2 is missing in base**(-2i/d).")
def exponent_halved(x, positions, base=10000.0):
    return rotate(x, angles(x, positions, base, exponent=-1.0))


@mistake("Frequencies grow here, and they should shrink: the exponent is negative.")
def frequencies_grow(x, positions, base=10000.0):
    return rotate(x, angles(x, positions, base, exponent=2.0))


@mistake(
    "This writes into `x` itself. The caller still needs it; and a slice of x is no copy, so when the first half is "
    "turned, the second is turned with the new numbers. Build a new tensor, such as with `torch.cat`."
)
def writes_into_x(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    cos, sin = angles(x, positions, base).cos(), angles(x, positions, base).sin()
    first, second = x[..., :half], x[..., half:]
    x[..., :half] = first * cos - second * sin
    x[..., half:] = second * cos + first * sin
    return x


@mistake(
    "The second half is turned with numbers that are new already: a slice is no copy, so what you took from the first "
    "half changes when you write there. Read from `x`, and write into another tensor."
)
def writes_where_it_reads(x, positions, base=10000.0):
    return writes_into_x.solution(x.clone(), positions, base)


@mistake("Right for base 10000 only: use the argument `base`.")
def base_ignored(x, positions, base=10000.0):
    return rope(x, positions)


@mistake("Every position is one too large: use `positions` as they are.")
def one_position_too_far(x, positions, base=10000.0):
    return rope(x, positions + 1, base)


@mistake("This counts the positions 0, 1, 2, ... by itself. A text may begin elsewhere: use `positions`.")
def positions_ignored(x, positions, base=10000.0):
    return rope(x, torch.arange(x.shape[-2]), base)


@mistake("Positions are cut to whole numbers here, and they may lie in between: leave them as they are.")
def positions_cut_to_integers(x, positions, base=10000.0):
    return rope(x, positions.long(), base)


EXERCISE = Exercise(
    id="rope",
    title="Rotary position encoding",
    points=4,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Split x into its two halves. Number i of the first half and number i of the second are a point in a plane: "
        "rotate it by positions[t] * base**(-2i/d). All these angles make a table of shape (n, d/2). "
        "`positions[:, None]` is a column, which broadcasts.",
        "With cos, sin (n, d/2): `torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)`.",
    ),
    reference=rope,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Su et al. 2021, section 3",
    rtol=1e-4,
    atol=1e-4,  # float32 angles near 60 radians are off by 1e-5 when the frequency is off by one rounding
)
