"""The exact ceiling: how many gaps a perfect reader fills who sees `ahead` tokens to the right.

The second half of each text mirrors the first, so every gap has a twin with the same symbol.
"""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def gap_ceiling(n_symbols, half, ahead):
    seen = half  # every gap of the second half has its twin on the left
    for i in range(half):
        seen += 2 * half - 1 - 2 * i <= ahead  # how far to the right the twin stands
    return (seen + (2 * half - seen) / n_symbols) / (2 * half)


def cases(rng):
    n_symbols, half = (int(torch.randint(5, 12, (), generator=rng)) for _ in range(2))
    ahead = 2 * int(torch.randint(1, half, (), generator=rng))
    few, more = (int(torch.randint(3, 30, (), generator=rng)) for _ in range(2))
    short, longer = (int(torch.randint(3, 9, (), generator=rng)) for _ in range(2))
    return [
        Case("16 symbols, halves of 8, nothing ahead", (16, 8, 0), expected=0.53125),
        Case(f"{few} symbols, halves of {short}, one token ahead", (few, short, 1)),
        Case(f"{more} symbols, halves of {longer}, two tokens ahead", (more, longer, 2)),
        Case(f"{n_symbols} symbols, halves of {half}, {ahead} tokens ahead", (n_symbols, half, ahead)),
        Case("everything in sight", (16, 8, 15), expected=1.0),
        Case(f"halves of {short}, and more tokens ahead than there are", (few, short, 2 * short + 3), expected=1.0),
    ]


@alternative
def by_counting(n_symbols, half, ahead):
    visible = half + min((ahead + 1) // 2, half)
    blind = 2 * half - visible
    return visible / (2 * half) + blind / (2 * half * n_symbols)


@alternative
def gap_by_gap(n_symbols, half, ahead):
    right = 0
    for place in range(2 * half):
        twin = 2 * half - 1 - place
        if twin < place or twin - place <= ahead:
            right += 1
        else:
            right += 1 / n_symbols
    return right / (2 * half)


@mistake(
    "Where the twin is out of sight one still guesses, and is right one time in n_symbols. In these numbers that is "
    "missing; if you added it, you may have written `//`, which rounds it down to 0."
)
def no_guesses(n_symbols, half, ahead):
    certain = half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half))
    return certain / (2 * half)


@mistake("This is right for ahead = 0 and ignores `ahead`: the gaps nearest the middle have their twins close by.")
def ahead_ignored(n_symbols, half, ahead):
    return gap_ceiling(n_symbols, half, 0)


@mistake("The distances between twins are 1, 3, 5, ..., so it takes two steps to the right to open one more gap.")
def one_gap_a_step(n_symbols, half, ahead):
    seen = half + min(ahead, half)
    return (seen + (2 * half - seen) / n_symbols) / (2 * half)


@mistake("Off by one: with ahead = 1 the gap just before the middle already sees its twin, the token after it.")
def one_step_short(n_symbols, half, ahead):
    return gap_ceiling(n_symbols, half, max(ahead - 1, 0))


@mistake("Gaps of the second half have their twin on the left, in plain sight: they count whatever `ahead` is.")
def second_half_forgotten(n_symbols, half, ahead):
    return gap_ceiling(n_symbols, half, ahead) - (1 - 1 / n_symbols) / 2


@mistake("This is how many of the gaps are filled. The share is that number divided by how many gaps there are.")
def number_instead_of_share(n_symbols, half, ahead):
    return gap_ceiling(n_symbols, half, ahead) * 2 * half


@mistake("The string has `2 * half` gaps, and this divides by `half`. A share is never above 1.")
def divided_by_half(n_symbols, half, ahead):
    return 2 * gap_ceiling(n_symbols, half, ahead)


@mistake("This is the share of wrong answers. The share of right ones is 1 minus that.")
def share_of_wrong_answers(n_symbols, half, ahead):
    return 1 - gap_ceiling(n_symbols, half, ahead)


@mistake("This is in percent. A share lies between 0 and 1.")
def percent(n_symbols, half, ahead):
    return 100 * gap_ceiling(n_symbols, half, ahead)


def share_of(certain, n_symbols, half):
    return (certain + (2 * half - certain) / n_symbols) / (2 * half)


@mistake(
    "`ahead / 2` opens half a gap here when `ahead` is odd. The distances are 1, 3, 5, ...: try ahead = 1 by hand."
)
def half_a_gap(n_symbols, half, ahead):
    return share_of(half + ahead / 2, n_symbols, half)


@mistake(
    "Twins mirror each other, and this takes the second half for a copy: place i has its twin at 2 * half - 1 - i."
)
def copied_not_mirrored(n_symbols, half, ahead):
    return share_of(2 * half if ahead >= half else half, n_symbols, half)


@mistake(
    "Where the twin is out of sight, the guess is right one time in n_symbols - 1 here. The symbol in the gap may be "
    "any of the n_symbols."
)
def one_symbol_left_out(n_symbols, half, ahead):
    certain = half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half))
    return (certain + (2 * half - certain) / (n_symbols - 1)) / (2 * half)


@mistake("The guesses are added for all gaps, also for those that are certain. Only where the twin is out of sight.")
def certain_ones_guessed_too(n_symbols, half, ahead):
    certain = half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half))
    return certain / (2 * half) + 1 / n_symbols


BRACKETS = (
    "Brackets are missing: a division comes before a sum, and `x / 2 * half` multiplies by half. Put them around the "
    "whole sum, and around `2 * half`."
)


@mistake(BRACKETS)
def only_the_guesses_divided(n_symbols, half, ahead):
    certain = half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half))
    return certain + (2 * half - certain) / n_symbols / (2 * half)


@mistake(BRACKETS)
def multiplied_by_half(n_symbols, half, ahead):
    return share_of(half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half)), n_symbols, half) * half**2


@mistake(
    "If `ahead` is large, more gaps are certain here than there are, and the share is above 1. In the first half there "
    "are `half` of them: `min(..., half)`."
)
def more_gaps_than_there_are(n_symbols, half, ahead):
    return share_of(half + (ahead + 1) // 2, n_symbols, half)


@mistake("The second half is counted twice: its gaps are certain already, so look only at places 0 to half - 1.")
def second_half_twice(n_symbols, half, ahead):
    return share_of(half + sum(2 * half - 1 - 2 * i <= ahead for i in range(2 * half)), n_symbols, half)


@mistake(
    "Only the first gap of the first half was looked at. Is the `return` inside the loop? Then the function ends in "
    "its first round: move it to the left, under the `for`."
)
def first_gap_alone(n_symbols, half, ahead):
    return share_of(half + (2 * half - 1 <= ahead), n_symbols, half)


EXERCISE = Exercise(
    id="gap_ceiling",
    title="The exact ceiling",
    points=2,
    minutes=12,
    difficulty=3,
    kind="derive",
    hints=(
        "Go through the gaps 0 to half - 1. The twin of place i stands at 2 * half - 1 - i: how far to its right?",
        "From the middle outwards, twins are 1, 3, 5, ... apart. A gap of the first half is certain if its twin is no "
        "further away than `ahead`, and all of the second half are. The others are right once in n_symbols. A share is "
        "the sum over all gaps, divided by how many there are.",
    ),
    reference=gap_ceiling,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, Filling a gap",
)
