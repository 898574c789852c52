"""Exercises of the lab ch01_positions."""

import torch

from course_lib.exercises.spec import Case, Exercise, Mistake


def sinusoidal(n, d):
    frequency = 10000.0 ** (-torch.arange(0, d, 2) / d)  # radians per position, one for each pair of dimensions
    angle = torch.arange(n)[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)  # sin, cos, sin, cos, ...


def position_shift(k, d):
    angle = k * 10000.0 ** (-torch.arange(0, d, 2) / d)
    even = torch.arange(0, d, 2)
    shift = torch.zeros(d, d)
    shift[even, even], shift[even, even + 1] = angle.cos(), angle.sin()
    shift[even + 1, even], shift[even + 1, even + 1] = -angle.sin(), angle.cos()
    return shift


def rope(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = positions[:, None] * frequency  # n positions, half angles each
    cos, sin = angle.cos(), angle.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def alibi_slopes(n_heads):
    return 2.0 ** (-8.0 * torch.arange(1, n_heads + 1) / n_heads)


def alibi_bias(n_heads, n):
    position = torch.arange(n)
    distance = (position[:, None] - position).clamp(min=0)  # how far the key lies behind the query
    return -alibi_slopes(n_heads)[:, None, None] * distance


# Parts of the known mistakes below. Most of these are one turn of a screw away from the reference.


def _angles(n, d, exponent=-1.0):
    return torch.arange(n)[:, None] * 10000.0 ** (exponent * torch.arange(0, d, 2) / d)


def _sin_cos(angle):
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


def _sinusoidal_own_frequency_each(n, d):
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(d) / d)
    return torch.where(torch.arange(d) % 2 == 0, angle.sin(), angle.cos())


def _shift_halves(k, d):
    order = torch.cat((torch.arange(0, d, 2), torch.arange(1, d, 2)))
    return position_shift(k, d)[order][:, order]


def _rope_neighbours(x, positions, base=10000.0):
    halves_first = torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)
    return torch.stack(rope(halves_first, positions, base).chunk(2, dim=-1), dim=-1).flatten(-2)


def _rope_mixed_layouts(x, positions, base=10000.0):
    angle = _rope_angle(x, positions, base).repeat_interleave(2, dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * angle.cos() + torch.cat((-second, first), dim=-1) * angle.sin()


def _rope_angle(x, positions, base, exponent=-2.0):
    return positions[:, None] * base ** (exponent * torch.arange(x.shape[-1] // 2, dtype=x.dtype) / x.shape[-1])


def _turn(x, positions, base, exponent=-2.0, sign=1.0):
    angle = _rope_angle(x, positions, base, exponent)
    (first, second), cos, sin = x.chunk(2, dim=-1), angle.cos(), angle.sin()
    return torch.cat((first * cos - second * sin, second * cos + sign * first * sin), dim=-1)


def _bias(n_heads, distance):
    return -alibi_slopes(n_heads)[:, None, None] * distance.expand(n_heads, *distance.shape)


# How the subjects are driven, and the questions that they are asked.


def _drive_rope(subject, x, positions, base=10000.0, key=None):
    """Value and gradient in x; with a key, how much the scores change when query and key both move by 40 places."""
    if key is not None:

        def scores(by):
            query = subject(x, positions + by, base)
            return query @ subject(key, positions + by, base).transpose(-1, -2)

        return scores(40) - scores(0)
    if positions.is_floating_point():  # positions are not learned: nobody owes us their gradient
        return subject(x, positions, base)
    return subject.gradients(x, positions, base)


def _drive_bias(subject, n_heads, n):
    """The bias with the future set to 0: those scores are masked anyway, so whatever stands there is fine."""
    bias = subject(n_heads, n)
    return bias.tril() if isinstance(bias, torch.Tensor) and bias.shape == (n_heads, n, n) else bias


def _integer(low, high, rng):
    return int(torch.randint(low, high, (), generator=rng))


def _sinusoidal_cases(rng):
    n, d = _integer(5, 30, rng), 2 * _integer(5, 30, rng)
    return [
        Case("4 positions, 6 dimensions", (4, 6)),
        Case("position 0 is sin 0, cos 0, sin 0, ...", (1, 8), expected=torch.tensor([[0.0, 1.0] * 4])),
        Case("2 dimensions: sin t and cos t", (7, 2)),
        Case(f"{n} positions, {d} dimensions", (n, d)),
        Case("more dimensions than positions", (3, 64)),
    ]


def _shift_cases(rng):
    k, d = _integer(8, 30, rng), 2 * _integer(3, 9, rng)
    return [
        Case("one step in 6 dimensions", (1, 6)),
        Case("no step changes nothing", (0, 4), expected=torch.eye(4)),
        Case(f"{k} steps in {d} dimensions", (k, d)),
        Case("2 dimensions: one rotation", (3, 2)),
        Case("5 steps back: k is negative", (-5, 8)),
    ]


def _rope_cases(rng):
    x, key = torch.randn(2, 5, 8, generator=rng), torch.randn(2, 5, 8, generator=rng)
    spread = torch.randperm(50, generator=rng)[:5] + 10
    return [
        Case("positions 0 to 4", (x, torch.arange(5))),
        Case("batch, heads, 6 positions, 12 dimensions", (torch.randn(2, 3, 6, 12, generator=rng), torch.arange(6))),
        Case("positions that do not start at 0", (x, spread)),
        Case("another base: 100", (x, torch.arange(5)), {"base": 100.0}),
        Case("positions between the whole numbers", (x, torch.arange(5) / 2)),
        Case("scores stay when both move by 40", (x, torch.arange(5)), {"key": key}, expected=torch.zeros(2, 5, 5)),
    ]


def _slopes_cases(rng):
    n_heads = 2 ** _integer(4, 6, rng)
    return [
        Case("8 heads: 1/2, 1/4, ... 1/256", (8,), expected=2.0 ** -torch.arange(1.0, 9)),
        Case("2 heads", (2,), expected=torch.tensor([1 / 16, 1 / 256])),
        Case("1 head", (1,), expected=torch.tensor([1 / 256])),
        Case("4 heads", (4,)),
        Case(f"{n_heads} heads", (n_heads,)),
    ]


def _bias_cases(rng):
    n = _integer(7, 20, rng)
    return [
        Case("2 heads, 4 positions", (2, 4)),
        Case("8 heads, 3 positions", (8, 3)),
        Case("one position: nothing to punish", (4, 1), expected=torch.zeros(4, 1, 1)),
        Case(f"4 heads, {n} positions", (4, n)),
    ]


EXERCISES = [
    Exercise(
        id="sinusoidal",
        title="Sinusoidal positions",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "Make the angles first, as an n x d/2 table: position times frequency. Each frequency serves two columns.",
            "With `angle` of shape (n, d/2), `torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)` interleaves.",
        ),
        reference=sinusoidal,
        cases=_sinusoidal_cases,
        mistakes=(
            Mistake(
                lambda n, d: torch.cat((_angles(n, d).sin(), _angles(n, d).cos()), dim=-1),
                "The right numbers in another order: all sines, then all cosines. Interleave them: sin, cos, sin, cos.",
            ),
            Mistake(lambda n, d: _sin_cos(torch.pi / 2 - _angles(n, d)), "Sine and cosine have changed places."),
            Mistake(
                lambda n, d: _sin_cos(torch.deg2rad(_angles(n, d))),
                "No conversion: the angles are radians already.",
            ),
            Mistake(lambda n, d: sinusoidal(n + 1, d)[1:], "Your first row is position 1. Count from 0."),
            Mistake(lambda n, d: _sin_cos(_angles(n, d, -0.5)), "The 2 is missing in 10000**(-2i/d)."),
            Mistake(
                _sinusoidal_own_frequency_each,
                "Each column has a frequency of its own here; a sine and its cosine share one.",
            ),
            Mistake(lambda n, d: _sin_cos(_angles(n, d, 1.0)), "Your frequencies grow: the exponent is negative."),
        ),
        see="Vaswani et al. 2017, section 3.5",
        rtol=1e-4,
        atol=1e-4,  # a frequency that is off by one float32 rounding shows as 1e-5 at position 30
    ),
    Exercise(
        id="position_shift",
        title="A step is a rotation",
        points=3,
        minutes=12,
        difficulty=3,
        hints=(
            "Write sin(w(t + k)) and cos(w(t + k)) with the addition formulas: the factors are cos wk and sin wk.",
            "Pair i fills rows and columns 2i, 2i+1 with [[cos, sin], [-sin, cos]] of k * 10000**(-2i/d); the rest is "
            "0.",
        ),
        reference=position_shift,
        cases=_shift_cases,
        mistakes=(
            Mistake(lambda k, d: position_shift(k, d).T, "This steps back, from t + k to t: swap the sines' signs."),
            Mistake(
                lambda k, d: torch.block_diag(*[position_shift(k, 2)] * (d // 2)),
                "All pairs turn by the same angle here; pair i turns by k * 10000**(-2i/d).",
            ),
            Mistake(lambda k, d: position_shift(1, d), "This makes one step whatever k is: multiply the angle by k."),
            Mistake(
                _shift_halves,
                "Right for the pairs (i, i + d/2). In `sinusoidal` a pair are neighbours: 2i and 2i + 1.",
            ),
        ),
        see="Vaswani et al. 2017, section 3.5: why they chose sinusoids",
        rtol=1e-4,
        atol=1e-4,
    ),
    Exercise(
        id="rope",
        title="Rotary position encoding",
        points=4,
        minutes=15,
        difficulty=2,
        hints=(
            "Split x into its two halves. Number i of the first half and number i of the second are a point in a "
            "plane: rotate it by positions * base**(-2i/d).",
            "With cos, sin (n, d/2): `torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)`.",
        ),
        reference=rope,
        cases=_rope_cases,
        mistakes=(
            Mistake(
                _rope_neighbours,
                "Well rotated, and paired as in the paper: neighbours (0, 1), (2, 3). The published weights of Llama "
                "and SmolLM2 pair i with i + d/2, and so do we. Both have the relative property.",
            ),
            Mistake(
                _rope_mixed_layouts,
                "Two conventions are mixed: angles for neighbours (a, a, b, b), but a swap of halves, which needs a, "
                "b, a, b.",
            ),
            Mistake(
                lambda x, p, base=1e4: rope(x, -p, base),
                "This turns backwards. Scores come out the same, but published weights would not fit: swap the signs.",
            ),
            Mistake(
                lambda x, p, base=1e4: _turn(x, p, base, sign=-1.0),
                "One sign is off: a rotation has a minus in the first half and a plus in the second.",
            ),
            Mistake(
                lambda x, p, base=1e4: torch.cat((rope(x, p, base).chunk(2, -1)[0], x.chunk(2, -1)[1]), -1),
                "Only the first half is turned; the second has to move with it.",
            ),
            Mistake(lambda x, p, base=1e4: _turn(x, p, base, -1.0), "The 2 is missing in base**(-2i/d)."),
            Mistake(lambda x, p, base=1e4: _turn(x, p, base, 2.0), "Frequencies grow here: the exponent is negative."),
            Mistake(lambda x, p, base=1e4: rope(x, p), "Right for base 10000 only: use the argument `base`."),
            Mistake(lambda x, p, base=1e4: rope(x, p + 1, base), "Every position is one too large."),
            Mistake(
                lambda x, p, base=1e4: rope(x, torch.arange(x.shape[-2]), base),
                "This counts by itself: use `positions`.",
            ),
            Mistake(lambda x, p, base=1e4: rope(x, p.long(), base), "Positions are cut to whole numbers here."),
        ),
        see="Su et al. 2021, section 3",
        run_case=_drive_rope,
        rtol=1e-4,
        atol=1e-4,  # float32 angles near 60 radians are off by 1e-5 when the frequency is off by one rounding
    ),
    Exercise(
        id="alibi_slopes",
        title="ALiBi slopes",
        points=1,
        minutes=4,
        difficulty=1,
        hints=(
            "A geometric series: the first slope is 2**(-8/n_heads), and each next one is smaller by that same factor.",
            "`2.0 ** (-8 * torch.arange(1, n_heads + 1) / n_heads)`: i runs from 1 to n_heads.",
        ),
        reference=alibi_slopes,
        cases=_slopes_cases,
        mistakes=(
            Mistake(lambda h: 2.0 ** (-8.0 * torch.arange(h) / h), "Your first slope is 1: let i start at 1."),
            Mistake(lambda h: alibi_slopes(h).flip(0), "The order is reversed: the first head has the steepest slope."),
            Mistake(lambda h: 2.0 ** -torch.arange(1.0, h + 1), "A factor of 1/2 is right for 8 heads only."),
            Mistake(lambda h: -alibi_slopes(h), "Slopes are positive; the bias has the minus sign."),
            Mistake(lambda h: 1 / alibi_slopes(h), "Your slopes grow: the exponent is negative."),
            Mistake(lambda h: torch.exp(-8.0 * torch.arange(1, h + 1) / h), "The base is 2, not e."),
        ),
        see="Press et al. 2021, section 3",
    ),
    Exercise(
        id="alibi_bias",
        title="ALiBi bias",
        points=2,
        minutes=6,
        difficulty=2,
        hints=(
            "Make the n x n table of distances first: query position minus key position, by broadcasting.",
            "`-alibi_slopes(n_heads)[:, None, None] * distance`: the two new axes give each head its own slope.",
        ),
        reference=alibi_bias,
        cases=_bias_cases,
        mistakes=(
            Mistake(lambda h, n: -alibi_bias(h, n), "Your bias rewards distance: its sign is minus."),
            Mistake(
                lambda h, n: alibi_bias(h, n)[:1].expand(h, n, n),
                "All heads have the same slope here; head h has its own.",
            ),
            Mistake(
                lambda h, n: _bias(h, -torch.arange(n).expand(n, n)),
                "This is slope times key position. Softmax would not see the difference (each row is off by a "
                "constant), but we ask for minus slope times distance, which is 0 on the diagonal.",
            ),
            Mistake(
                lambda h, n: _bias(h, torch.arange(n).expand(n, n)),
                "This punishes keys far from the start; distance counts from the query backwards.",
            ),
            Mistake(
                lambda h, n: _bias(h, torch.arange(n)[:, None] + 1 - torch.arange(n)),
                "A query is at distance 0 from its own key, not 1.",
            ),
            Mistake(
                lambda h, n: alibi_bias(h, n).exp(),
                "This is a factor for the weights, after softmax. The bias is added to the scores, before it.",
            ),
            Mistake(lambda h, n: alibi_bias(h, n).permute(1, 2, 0), "The order of the axes is heads, query, key."),
        ),
        see="Press et al. 2021, section 3",
        run_case=_drive_bias,
        needs=("alibi_slopes",),
    ),
]
