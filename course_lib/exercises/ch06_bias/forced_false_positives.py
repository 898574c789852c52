"""The false positive rate that follows from the base rate, the precision and the share of misses."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def forced_false_positives(base_rate, precision, missed):
    flagged_right = base_rate * (1 - missed)
    flagged_wrong = flagged_right * (1 - precision) / precision
    return flagged_wrong / (1 - base_rate)


def cases(rng):
    def chance(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    miss, right = chance(0.05, 0.4), chance(0.6, 0.9)
    return [
        Case("by hand: half have the outcome", (0.5, 0.8, 0.2), expected=0.2),
        Case("by hand: one in five has it", (0.2, 0.8, 0.2), expected=0.05),
        Case("every flag is right", (chance(0.2, 0.6), 1.0, chance(0.1, 0.5)), expected=0.0),
        Case("nobody is missed", (chance(0.1, 0.4), chance(0.6, 0.9), 0.0)),
        Case("a frequent outcome", (chance(0.45, 0.55), right, miss)),
        Case("a rare outcome, all else equal", (chance(0.03, 0.15), right, miss)),
        Case("an imprecise flag", (chance(0.1, 0.3), chance(0.35, 0.55), chance(0.4, 0.7))),
    ]


@alternative
def as_published(base_rate, precision, missed):
    return base_rate / (1 - base_rate) * (1 - precision) / precision * (1 - missed)


@alternative
def by_counting_people(base_rate, precision, missed):
    people = 10**6
    with_outcome = people * base_rate
    found = with_outcome - missed * with_outcome
    flagged = found / precision
    return (flagged - found) / (people - with_outcome)


@mistake(
    "This is the share of the *flagged* that are wrong. The false positive rate is a share of those without the "
    "outcome: count the wrong flags, and divide by them."
)
def of_the_flagged(base_rate, precision, missed):
    return 1 - precision


@mistake("Nothing is missed here. Only the share 1 - missed of those with the outcome is flagged.")
def without_misses(base_rate, precision, missed):
    return base_rate * (1 - precision) / precision / (1 - base_rate)


@mistake("The wrong flags are divided by all people. Divide by those without the outcome, 1 - base rate.")
def of_all_people(base_rate, precision, missed):
    return base_rate * (1 - missed) * (1 - precision) / precision


@mistake(
    "The wrong flags are counted as a share 1 - precision of the *right* flags. If four of five flags are right, there "
    "is one wrong for every four right: (1 - precision) / precision."
)
def share_of_the_right(base_rate, precision, missed):
    return base_rate * (1 - missed) * (1 - precision) / (1 - base_rate)


@mistake("The base rate is turned round: how many have the outcome for each who has not is base / (1 - base).")
def odds_turned_round(base_rate, precision, missed):
    return (1 - base_rate) / base_rate * (1 - precision) / precision * (1 - missed)


@mistake("`missed` is the share of those with the outcome who are *not* flagged. Flagged are 1 - missed.")
def missed_as_found(base_rate, precision, missed):
    return base_rate * missed * (1 - precision) / precision / (1 - base_rate)


@mistake(
    "The base rate is missing. A share of those *with* the outcome is flagged rightly, and the false positive rate is "
    "a share of those *without* it: the two groups are not equally large."
)
def without_the_base_rate(base_rate, precision, missed):
    return (1 - missed) * (1 - precision) / precision


@mistake(
    "This counts *all* flags, the right ones too, and then divides by those without the outcome. Count the wrong flags "
    "alone."
)
def all_flags(base_rate, precision, missed):
    return base_rate * (1 - missed) / precision / (1 - base_rate)


@mistake(
    "The number of all flags is taken as right flags *times* precision. Precision is right flags divided by all flags, "
    "so all flags are right flags divided by precision."
)
def flags_times_precision(base_rate, precision, missed):
    right = base_rate * (1 - missed)
    return (right * precision - right) / (1 - base_rate)


@mistake(
    "The precision is turned round: for each right flag there are (1 - precision) / precision wrong ones, fewer than "
    "one if most flags are right."
)
def precision_turned_round(base_rate, precision, missed):
    return base_rate * (1 - missed) * precision / (1 - precision) / (1 - base_rate)


@mistake("This is in percent. A rate here is a number from 0 to 1, as the other three are.")
def in_percent(base_rate, precision, missed):
    return 100 * base_rate * (1 - missed) * (1 - precision) / precision / (1 - base_rate)


@mistake(
    "This is how many of 100 people are flagged wrongly. It is a count: divide by how many of these 100 are without "
    "the outcome."
)
def of_a_hundred_people(base_rate, precision, missed):
    return 100 * base_rate * (1 - missed) * (1 - precision) / precision


@mistake(
    "The people are rounded to whole ones on the way. 100 people were an example: leave the fractions of people as "
    "they are."
)
def whole_people(base_rate, precision, missed):
    have = round(100 * base_rate)
    right = round(have * (1 - missed))
    return (round(right / precision) - right) / (100 - have)


@mistake(
    "A share 1 - precision of those *without* the outcome is flagged here. Precision is a share of the flagged: begin "
    "with the right flags."
)
def precision_of_the_others(base_rate, precision, missed):
    return (1 - base_rate) * (1 - precision)


@mistake("A pair of brackets is missing: `a / 1 - b` divides by 1 and then subtracts. Write `a / (1 - b)`.")
def without_brackets(base_rate, precision, missed):
    return base_rate * (1 - missed) * (1 - precision) / precision / 1 - base_rate


@mistake(
    "Nothing is missed here, and the wrong flags are a share of the *right* ones. Only the share 1 - missed is flagged "
    "rightly, and for each of these there are (1 - precision) / precision wrong flags."
)
def without_misses_of_the_right(base_rate, precision, missed):
    return base_rate * (1 - precision) / (1 - base_rate)


@mistake(
    "This multiplies 1 - precision by 1 - missed. Neither is a share of those without the outcome: count people, first "
    "the right flags, then the wrong ones."
)
def two_shares_multiplied(base_rate, precision, missed):
    return (1 - precision) * (1 - missed)


EXERCISE = Exercise(
    id="forced_false_positives",
    title="The false positives that are forced",
    points=3,
    minutes=15,
    difficulty=3,
    kind="derive",
    hints=(
        "Imagine 100 people. How many have the outcome, how many of these are flagged, and how many flags are then "
        "wrong?",
        "As a share of all people, `base_rate * (1 - missed)` are flagged rightly. If four of five flags are right, "
        "how many wrong ones are there for each right one? And of whom is the rate a share?",
    ),
    reference=forced_false_positives,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Fair in which sense?",
)
