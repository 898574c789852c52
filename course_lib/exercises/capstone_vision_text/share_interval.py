"""The confidence interval of a measured share (Wilson 1927)."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def share_interval(right, asked):
    z = 1.96
    share, z2 = right / asked, z * z / asked
    middle = share + z2 / 2
    half = z / math.sqrt(asked) * math.sqrt(share * (1 - share) + z2 / 4)
    return (middle - half) / (1 + z2), (middle + half) / (1 + z2)


def cases(rng):
    z2 = 1.96**2
    n = 2 * int(torch.randint(50, 400, (), generator=rng))
    half = 1.96 / (2 * math.sqrt(n + z2))
    asked, few = (int(torch.randint(30, 60, (), generator=rng)) for _ in range(2))
    right = int(torch.randint(3, 12, (), generator=rng))
    return [
        Case("none of 20 right, a closed form", (0, 20), expected=(0.0, z2 / (20 + z2))),
        Case("all of 20 right, a closed form", (20, 20), expected=(20 / (20 + z2), 1.0)),
        Case(f"half of {n} right, a closed form", (n // 2, n), expected=(0.5 - half, 0.5 + half)),
        Case(f"one of {few} right", (1, few)),
        Case(f"{right} of {asked} right", (right, asked)),
    ]


@alternative
def in_counts(right, asked):
    z2 = 1.96**2
    root = math.sqrt(z2 * (right * (asked - right) / asked + z2 / 4))
    return [(right + z2 / 2 - root) / (asked + z2), (right + z2 / 2 + root) / (asked + z2)]


@alternative
def by_the_quadratic(right, asked):
    # The ends solve (p - share)^2 = z^2 p (1 - p) / asked.
    share, z2 = right / asked, 1.96**2 / asked
    a, b, c = 1 + z2, -(2 * share + z2), share * share
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def wald(right, asked, z=1.96):
    share = right / asked
    half = z * math.sqrt(share * (1 - share) / asked)
    return share - half, share + half


@mistake(
    "This is the share plus and minus 1.96 standard errors. At 0 of 20 it has no width at all, as if twenty questions "
    "proved that the model is never right. Wilson's formula also has the terms with z^2."
)
def plain_standard_error(right, asked):
    return wald(right, asked)


@mistake(
    "The plain interval, cut off at 0 and 1. It still has no width at 0 of 20. Wilson's formula also has the terms "
    "with z^2."
)
def plain_and_cut_off(right, asked):
    low, high = wald(right, asked)
    return max(0.0, low), min(1.0, high)


@mistake("The division by 1 + z^2 / n is missing. Without it the interval of 20 of 20 reaches beyond 1.")
def not_divided(right, asked):
    z2 = 1.96**2 / asked
    low, high = share_interval(right, asked)
    return low * (1 + z2), high * (1 + z2)


@mistake(
    "The middle of this interval is the share itself. Wilson's middle is moved a little towards one half: (p + z^2 / "
    "2n) / (1 + z^2 / n)."
)
def around_the_share(right, asked):
    low, high = share_interval(right, asked)
    share = right / asked
    return share - (high - low) / 2, share + (high - low) / 2


@mistake("Under the root, z^2 / 4n is missing: at 0 of 20 nothing else is left there.")
def root_without_z(right, asked):
    share, z2 = right / asked, 1.96**2 / asked
    half = 1.96 / math.sqrt(asked) * math.sqrt(share * (1 - share))
    return (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)


@mistake(
    "Under the root, z^2 / 4n is not divided by n a second time. The factor z / sqrt(n) is before the whole root, so "
    "both terms are divided by n: p (1 - p) / n + z^2 / 4n^2."
)
def divided_by_n_once(right, asked):
    share, z2 = right / asked, 1.96**2 / asked
    half = 1.96 * math.sqrt(share * (1 - share) / asked + z2 / 4)
    return (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)


@mistake("This is the interval for z = 1, which misses the true share in one of three measurements. Take z = 1.96.")
def one_standard_error(right, asked):
    share, z2 = right / asked, 1 / asked
    half = math.sqrt(share * (1 - share) + z2 / 4) / math.sqrt(asked)
    return (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)


@mistake("This is the interval for z = 2, a little too wide. For 95%, z is 1.96.")
def two_standard_errors(right, asked):
    share, z2 = right / asked, 4 / asked
    half = 2 * math.sqrt(share * (1 - share) + z2 / 4) / math.sqrt(asked)
    return (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)


def with_other_terms(right, asked, z, of_middle, of_root, below):
    """Wilson's formula with other terms in the middle, under the root and below the line."""
    share = right / asked
    half = z / math.sqrt(asked) * math.sqrt(max(0.0, share * (1 - share) + of_root))
    return (share + of_middle - half) / below, (share + of_middle + half) / below


@mistake("This is the interval for 90%: its z is 1.645. For 95%, z is 1.96.")
def for_90_percent(right, asked):
    z2 = 1.645**2 / asked
    return with_other_terms(right, asked, 1.645, z2 / 2, z2 / 4, 1 + z2)


@mistake("This is the interval for 99%: its z is 2.576. For 95%, z is 1.96.")
def for_99_percent(right, asked):
    z2 = 2.576**2 / asked
    return with_other_terms(right, asked, 2.576, z2 / 2, z2 / 4, 1 + z2)


@mistake(
    "z is not squared: three times the formula has z^2, and here stands z. Only the factor before the root is z itself."
)
def not_squared(right, asked):
    z = 1.96 / asked
    return with_other_terms(right, asked, 1.96, z / 2, z / 4, 1 + z)


BRACKETS = (
    "`x / 2 * n` divides by 2 and then multiplies by n. Below the line stands 2n: write `x / (2 * n)`, with brackets."
)


@mistake(BRACKETS)
def no_brackets_in_the_middle(right, asked):
    z2 = 1.96**2
    return with_other_terms(right, asked, 1.96, z2 / 2 * asked, z2 / (4 * asked), 1 + z2 / asked)


@mistake(BRACKETS)
def no_brackets_under_the_root(right, asked):
    z2 = 1.96**2
    return with_other_terms(right, asked, 1.96, z2 / (2 * asked), z2 / 4 * asked, 1 + z2 / asked)


@mistake(BRACKETS)
def no_brackets_at_all(right, asked):
    z2 = 1.96**2
    return with_other_terms(right, asked, 1.96, z2 / 2 * asked, z2 / 4 * asked, 1 + z2 / asked)


@mistake(
    "Only the half width is divided by 1 + z^2 / n here. The middle has to be divided too: put brackets around the "
    "whole numerator."
)
def half_width_divided(right, asked):
    low, high = share_interval(right, asked)
    middle, half = right / asked + 1.96**2 / asked / 2, (high - low) / 2
    return middle - half, middle + half


@mistake(
    "You divide by 1, and add z^2 / n to the result: without brackets the division comes first. The whole of "
    "1 + z^2 / n stands below the line."
)
def no_brackets_below_the_line(right, asked):
    z2 = 1.96**2 / asked
    low, high = share_interval(right, asked)
    return low * (1 + z2) + z2, high * (1 + z2) + z2


@mistake(
    "z^2 / 4n under the root is divided by n once too often. The factor z / sqrt(n) in front already divides the "
    "whole root: with it, z^2 / 4n is enough."
)
def divided_by_n_three_times(right, asked):
    z2 = 1.96**2 / asked
    return with_other_terms(right, asked, 1.96, z2 / 2, z2 / (4 * asked), 1 + z2)


@mistake(
    "Under the root p (1 - p) is not divided by n. If z alone stands in front, both terms are divided inside: p (1 - "
    "p) / n + z^2 / 4n^2."
)
def share_not_divided_under_the_root(right, asked):
    share, z2 = right / asked, 1.96**2 / asked
    half = 1.96 * math.sqrt(share * (1 - share) + z2 / (4 * asked))
    return (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)


@mistake("You add z^2 / n to the share in the middle. Half of that is added: z^2 / 2n.")
def middle_not_halved(right, asked):
    z2 = 1.96**2 / asked
    return with_other_terms(right, asked, 1.96, z2, z2 / 4, 1 + z2)


@mistake("Under the root you add z^2 / 2n, which belongs in the middle. Under the root it is z^2 / 4n.")
def the_middles_term_under_the_root(right, asked):
    z2 = 1.96**2 / asked
    return with_other_terms(right, asked, 1.96, z2 / 2, z2 / 2, 1 + z2)


@mistake("You divide by 1 + z^2. What stands below the line is 1 + z^2 / n.")
def below_without_n(right, asked):
    z2 = 1.96**2 / asked
    return with_other_terms(right, asked, 1.96, z2 / 2, z2 / 4, 1 + 1.96**2)


@mistake("These are the middle and the half width. Return the two ends.")
def middle_and_half(right, asked):
    low, high = share_interval(right, asked)
    return (low + high) / 2, (high - low) / 2


@mistake("These are percentages. Return shares, from 0 to 1.")
def percent(right, asked):
    low, high = share_interval(right, asked)
    return 100 * low, 100 * high


EXERCISE = Exercise(
    id="share_interval",
    title="How precise is a share?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Compute p and z^2 / n once. The formula is middle plus and minus half width, both divided by the same number.",
        "With `z2 = z * z / asked` the formula is shorter: `p + z2 / 2` in the middle, and `p * (1 - p) + z2 / 4` "
        "under the root. What stands before the root, and what is everything divided by?",
    ),
    reference=share_interval,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, A baseline of pixels",
    atol=1e-4,  # z may be typed with more digits
    rtol=1e-4,
)
