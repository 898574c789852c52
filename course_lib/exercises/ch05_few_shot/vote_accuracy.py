"""How often a majority of labels is right, if each is right with the same probability."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def vote_accuracy(shots, kept):
    accuracy = 0.0
    for right in range(shots + 1):
        probability = math.comb(shots, right) * kept**right * (1 - kept) ** (shots - right)
        wrong = shots - right
        accuracy += probability * (1 if right > wrong else 0.5 if right == wrong else 0)
    return accuracy


def cases(rng):
    def chance(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    return [
        Case("by hand: three labels, each right with 0.8", (3, 0.8), expected=0.896),
        Case("no label: a guess", (0, chance(0.6, 0.9)), expected=0.5),
        Case("one label", (1, chance(0.6, 0.95))),
        Case("two labels", (2, chance(0.6, 0.95))),
        Case("8 labels", (8, chance(0.6, 0.9))),
        Case("an odd number of labels", (2 * whole(2, 8) + 1, chance(0.55, 0.8))),
        Case("an even number of labels", (2 * whole(5, 9), chance(0.55, 0.7))),
        Case("labels that are wrong more often than right", (4, chance(0.1, 0.4))),
    ]


@alternative
def one_label_after_another(shots, kept):
    # The probability of each lead of right over wrong labels.
    leads = {0: 1.0}
    for _ in range(shots):
        after = {}
        for lead, p in leads.items():
            after[lead + 1] = after.get(lead + 1, 0) + p * kept
            after[lead - 1] = after.get(lead - 1, 0) + p * (1 - kept)
        leads = after
    return sum(p * (0.5 if lead == 0 else lead > 0) for lead, p in leads.items())


@alternative
def an_even_number_is_worth_one_less(shots, kept):
    if shots == 0:
        return 0.5
    odd = shots - 1 + shots % 2
    most = range(odd // 2 + 1, odd + 1)
    return sum(math.comb(odd, right) * kept**right * (1 - kept) ** (odd - right) for right in most)


@alternative
def a_guess_without_labels(shots, kept):
    if shots == 0:
        return 0.5
    accuracy = 0.0
    for right in range(shots + 1):
        probability = math.comb(shots, right) * kept**right * (1 - kept) ** (shots - right)
        if 2 * right > shots:
            accuracy += probability
        elif 2 * right == shots:
            accuracy += probability / 2
    return accuracy


TIES_ARE_WRONG = (
    "A tie counts as wrong here. In a tie one has to guess, and half of the guesses are right: add half of its "
    "probability."
)
TIES_ARE_RIGHT = (
    "A tie counts as right here. In a tie one has to guess, and only half of the guesses are right: add half of its "
    "probability."
)


@mistake(TIES_ARE_WRONG)
def ties_are_wrong(shots, kept):
    majorities = range(shots // 2 + 1, shots + 1)
    return sum((math.comb(shots, right) * kept**right * (1 - kept) ** (shots - right) for right in majorities), 0.0)


@mistake(TIES_ARE_RIGHT)
def ties_are_right(shots, kept):
    return sum(
        math.comb(shots, right) * kept**right * (1 - kept) ** (shots - right)
        for right in range(shots + 1)
        if 2 * right >= shots
    )


@mistake(
    "It is not counted in how many ways the right labels can be placed among the examples: `math.comb(shots, right)`."
)
def without_the_ways(shots, kept):
    accuracy = 0.0
    for right in range(shots + 1):
        probability = kept**right * (1 - kept) ** (shots - right)
        accuracy += probability * (1 if 2 * right > shots else 0.5 if 2 * right == shots else 0)
    return accuracy


@mistake(
    "This is the chance that *all* labels are right. The vote is right already if most of them are. (If you do go "
    "through all numbers of right labels: `+=` adds up, and `=` keeps the last alone.)"
)
def all_right(shots, kept):
    return kept**shots if shots else 0.5


@mistake("This is the chance that *some* label is right. The vote is right if most of them are.")
def some_right(shots, kept):
    return 1 - (1 - kept) ** shots if shots else 0.5


@mistake("This is the chance of one label. More labels make the vote better than one of them.")
def one_label(shots, kept):
    return kept if shots else 0.5


@mistake("Right and wrong are exchanged: this is how often the vote is wrong.")
def how_often_wrong(shots, kept):
    return 1 - vote_accuracy(shots, kept)


@mistake(
    "The wrong labels have no probability here. That k labels are right and the others wrong has the probability "
    "`kept**k * (1 - kept)**(shots - k)`, for each way to place them."
)
def wrong_labels_are_free(shots, kept):
    def counts(right):
        return 1 if 2 * right > shots else 0.5 if 2 * right == shots else 0

    return sum(math.comb(shots, right) * kept**right * counts(right) for right in range(shots + 1))


@mistake(
    "This is the chance that the right labels win by the smallest majority. They may win by more: add up over all "
    "numbers of right labels that win."
)
def smallest_majority(shots, kept):
    right = shots // 2 + 1
    return math.comb(shots, right) * kept**right * (1 - kept) ** max(0, shots - right)


def added_up(shots, probability, worth):
    """The sum over all numbers of right labels of their probability times what a vote with them is worth."""
    return sum(probability(right) * worth(right, shots - right) for right in range(shots + 1))


def binomial(shots, kept):
    return lambda right: math.comb(shots, right) * kept**right * (1 - kept) ** (shots - right)


def worth(right, wrong):
    return 1.0 if right > wrong else 0.5 if right == wrong else 0.0


@mistake(
    "Ties are left out here, and the others share their probability. In a tie one guesses, and half of the guesses are "
    "right: add half of the probability of a tie."
)
def ties_left_out(shots, kept):
    won, tied = (added_up(shots, binomial(shots, kept), rule) for rule in (int.__gt__, int.__eq__))
    return won / (1 - tied) if shots else 0.5


@mistake("A tie adds 0.5 here, however likely it is. Add half of its *probability*.")
def half_for_a_tie(shots, kept):
    won = added_up(shots, binomial(shots, kept), int.__gt__)
    return won + (0.5 if shots % 2 == 0 else 0)


@mistake(
    "`shots // 2` rounds down, so with an odd number of labels a minority passes for a tie. Compare the number of "
    "right labels with that of the wrong ones, or 2 * right with shots."
)
def a_minority_for_a_tie(shots, kept):
    return added_up(shots, binomial(shots, kept), lambda right, wrong: worth(right, shots // 2))


@mistake(
    "The power of `kept` is `shots` in every term. That k labels are right and the others wrong has the probability "
    "`kept**k * (1 - kept)**(shots - k)`, for each way to place them."
)
def all_kept_in_each_term(shots, kept):
    def probability(right):
        return math.comb(shots, right) * kept**shots * (1 - kept) ** (shots - right)

    return added_up(shots, probability, worth)


@mistake(
    "`math.perm` counts in which *order* the right labels may be chosen too. Which ones are right is all that matters: "
    "`math.comb`."
)
def orders_counted(shots, kept):
    def probability(right):
        return math.perm(shots, right) * kept**right * (1 - kept) ** (shots - right)

    return added_up(shots, probability, worth)


@mistake("Without any label this is 0. It is a guess then, and half of the guesses are right: 0.5.")
def nothing_without_labels(shots, kept):
    return vote_accuracy(shots, kept) if shots else 0.0


@mistake(
    "These are all numbers of right labels, which sum to 1. Count a majority in full, a tie half, a minority not at "
    "all."
)
def every_outcome(shots, kept):
    return added_up(shots, binomial(shots, kept), lambda right, wrong: 1.0)


@mistake(
    "Right and wrong labels have the same power. If k are right, `shots - k` are wrong: `kept**k * (1 - kept)**(shots "
    "- k)`."
)
def the_same_power_for_both(shots, kept):
    return added_up(shots, lambda right: math.comb(shots, right) * (kept * (1 - kept)) ** right, worth)


@mistake(TIES_ARE_WRONG)
def ties_are_wrong_but_for_no_label(shots, kept):
    return added_up(shots, binomial(shots, kept), int.__gt__) if shots else 0.5


@mistake(TIES_ARE_RIGHT)
def ties_are_right_but_for_no_label(shots, kept):
    return added_up(shots, binomial(shots, kept), int.__ge__) if shots else 0.5


EXERCISE = Exercise(
    id="vote_accuracy",
    title="How good a vote can be",
    points=3,
    minutes=15,
    difficulty=3,
    kind="derive",
    hints=(
        "How many of the labels are right? Go through all numbers from 0 to `shots`. How likely is each, and what "
        "does the vote say then?",
        "That k of the labels are right has a probability of three factors: the ways to choose them, the k right "
        "ones, the others wrong. It counts in full if k is a majority, half in a tie, and not at all otherwise. Add "
        "up over k from 0 to `shots`.",
    ),
    reference=vote_accuracy,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, How good a vote can be",
)
