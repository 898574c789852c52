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


@alternative
def by_loops(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    turned = x.clone()
    for t in range(x.shape[-2]):
        for i in range(half):
            angle = positions[t].item() * base ** (-2 * i / x.shape[-1])
            a, b = x[..., t, i], x[..., t, i + half]
            turned[..., t, i] = a * math.cos(angle) - b * math.sin(angle)
            turned[..., t, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return turned


# The two halves of the right answer, for the mistakes below.


def angles(x, positions, base, exponent=-2.0):
    return positions[:, None] * base ** (exponent * torch.arange(x.shape[-1] // 2, dtype=x.dtype) / x.shape[-1])


def rotate(x, angle):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()), dim=-1)


@mistake(
    "Well rotated, and paired as in the paper: neighbours (0, 1), (2, 3). The weights of Llama and SmolLM2 on Hugging "
    "Face pair i with i + d/2, and so do we. Both have the relative property."
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


ONE_SIGN_OFF = "One sign is off: a rotation has a minus in the first half and a plus in the second."


@mistake(ONE_SIGN_OFF)
def both_signs_plus(x, positions, base=10000.0):
    cos, sin = angles(x, positions, base).cos(), angles(x, positions, base).sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos + first * sin), dim=-1)


@mistake(ONE_SIGN_OFF)
def both_signs_minus(x, positions, base=10000.0):
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
    "The second half is turned with numbers of the first that are new already. Keep the old ones until both halves are "
    "done. (A slice is no copy: what you took from the first half changes when something is written there.)"
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


@mistake("Sines and cosines have changed places: at position 0 nothing may move, and there the cosines are 1.")
def sines_and_cosines_exchanged(x, positions, base=10000.0):
    return rotate(x, math.pi / 2 - angles(x, positions, base))


@mistake("The frequencies shrink too fast: `arange(0, d, 2)` counts 2i already, and so does `arange(d/2)` over d/2.")
def exponent_doubled(x, positions, base=10000.0):
    return rotate(x, angles(x, positions, base, exponent=-4.0))


@mistake(
    "Neighbours are paired, (0, 1), (2, 3), and what comes back are two halves. Here pair i is (i, i + d/2), in what "
    "comes in and in what goes out."
)
def neighbours_in_halves_out(x, positions, base=10000.0):
    return rope(torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1), positions, base)


@mistake("The pairs are right, but they come back as neighbours: put the two halves one after the other, `torch.cat`.")
def halves_in_neighbours_out(x, positions, base=10000.0):
    return torch.stack(rope(x, positions, base).chunk(2, dim=-1), dim=-1).flatten(-2)


@mistake(
    "Each number is turned together with itself. The two of a pair mix: the sine multiplies the *other* one, with a "
    "minus in the first half."
)
def each_with_itself(x, positions, base=10000.0):
    angle = angles(x, positions, base).repeat(1, 2)
    return x * angle.cos() - x * angle.sin()


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
        "With cos and sin of the angles, both (n, d/2), the new first half is `first * cos - second * sin`. The second "
        "is made of the same two, as they were before. `torch.cat` along the last axis joins them.",
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
