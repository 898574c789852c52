"""With which weights a single mean tells all its numbers: a formula to be derived."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def unequal_weights(n_numbers, n_places):
    powers = [n_numbers**i for i in reversed(range(n_places))]
    return [power / sum(powers) for power in powers]


def cases(rng):
    def size(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    return [
        Case("the numbers 0 and 1 at two places, as by hand", (2, 2), expected=[2 / 3, 1 / 3]),
        Case("some numbers at two places", (size(12, 200), 2)),
        Case("many numbers at two places", (size(200, 2000), 2)),
        Case("some numbers at three places", (size(3, 100), 3)),
        Case("some numbers at four places", (size(3, 30), 4)),
        Case("a single place gets all the weight", (size(3, 100), 1), expected=[1.0]),
    ]


def run_case(subject, n_numbers, n_places):
    """Ask for the weights; a tensor of them will do."""
    answer = subject(n_numbers, n_places)
    return answer.tolist() if isinstance(answer, torch.Tensor) else answer


@alternative
def by_repeated_division(n_numbers, n_places):
    weights = [1.0]
    for _ in range(n_places - 1):
        weights.append(weights[-1] / n_numbers)
    total = math.fsum(weights)
    return [weight / total for weight in weights]


@alternative
def from_the_smallest_gap(n_numbers, n_places):
    """As many means as there are, evenly spaced from 0 to the largest number."""
    gap = (n_numbers - 1) / (n_numbers**n_places - 1)
    return tuple(gap * n_numbers ** (n_places - 1 - place) for place in range(n_places))


@alternative
def by_a_softmax(n_numbers, n_places):
    scores = torch.arange(n_places - 1, -1, -1, dtype=torch.float64) * math.log(n_numbers)
    return scores.softmax(0)


@mistake(
    "With equal weights nobody can tell who brought which number: 4 and 10 give the same mean as 10 and 4. Let one "
    "place count more than the other."
)
def equal_weights(n_numbers, n_places):
    return [1 / n_places] * n_places


@mistake(
    "The order is turned round: the first place counts most, so the largest weight comes first. The weights are right."
)
def smallest_first(n_numbers, n_places):
    return unequal_weights(n_numbers, n_places)[::-1]


NOT_DIVIDED = (
    "The weights have the right proportions, but do not sum to 1, as those of a softmax do: divide each by their sum."
)


@mistake(NOT_DIVIDED)
def not_divided(n_numbers, n_places):
    return [n_numbers**i for i in reversed(range(n_places))]


@mistake(NOT_DIVIDED)
def first_is_one(n_numbers, n_places):
    return [n_numbers**-i for i in range(n_places)]


@mistake(NOT_DIVIDED)
def divided_by_the_next_power(n_numbers, n_places):
    return [n_numbers ** -(i + 1) for i in range(n_places)]


@mistake(
    "The weights have the right proportions at first, but do not sum to 1: the first is 1 - 1 / n. Begin with the "
    "proportions, and divide each by the sum of all."
)
def first_is_what_one_nth_leaves(n_numbers, n_places):
    return [(1 - 1 / n_numbers) / n_numbers**i for i in range(n_places)]


@mistake("`//` rounds down, so nothing is left of weights below 1. Divide with `/`.")
def rounded_down(n_numbers, n_places):
    powers = [n_numbers**i for i in reversed(range(n_places))]
    return [power // sum(powers) for power in powers]


@mistake(
    "Each place counts `n_places` times as much as the next. How many numbers can stand at a place decides, and not "
    "how many places there are."
)
def as_many_times_as_places(n_numbers, n_places):
    powers = [n_places**i for i in reversed(range(n_places))]
    return [power / sum(powers) for power in powers]


@mistake(
    "Each place counts ten times as much as the next, as in our numbers. Ten digits can stand at a place there. How "
    "many numbers can stand at one here?"
)
def as_in_our_numbers(n_numbers, n_places):
    powers = [10**i for i in reversed(range(n_places))]
    return [power / sum(powers) for power in powers]


@mistake("This is right at two places, and always returns two weights. Return one for each place.")
def always_two(n_numbers, n_places):
    return [n_numbers / (n_numbers + 1), 1 / (n_numbers + 1)]


@mistake(
    "There is one weight too many, for a place that does not exist. The last of the `n_places` weights belongs to 1."
)
def one_place_too_many(n_numbers, n_places):
    return unequal_weights(n_numbers, n_places + 1)


@mistake(
    "Each place counts twice as much as the next. That is enough for the numbers 0 and 1: with more of them, 0 and 2 "
    "give the same as 1 and 0."
)
def doubled(n_numbers, n_places):
    powers = [2**i for i in reversed(range(n_places))]
    return [power / sum(powers) for power in powers]


@mistake(
    "Nearly: two means are still alike. With n numbers the largest is n - 1, and here 1 at a place weighs just as "
    "much as n - 1 at the next."
)
def one_number_too_few(n_numbers, n_places):
    powers = [(n_numbers - 1) ** i for i in reversed(range(n_places))]
    return [power / sum(powers) for power in powers]


@mistake(
    "All means differ, but they could be further apart: between the largest number at a place and a 1 at the place "
    "before there is room that nothing uses."
)
def one_number_too_many(n_numbers, n_places):
    powers = [(n_numbers + 1) ** i for i in reversed(range(n_places))]
    return [power / sum(powers) for power in powers]


@mistake(
    "The weights fall in even steps, as 2 to 1. Then 0 and 2 give the same as 1 and 0: a 1 at a place has to weigh "
    "more than the largest number at the next."
)
def even_steps(n_numbers, n_places):
    steps = list(range(n_places, 0, -1))
    return [step / sum(steps) for step in steps]


EXERCISE = Exercise(
    id="unequal_weights",
    title="Two numbers in one",
    points=2,
    minutes=8,
    difficulty=2,
    kind="derive",
    hints=(
        "How many 1s at the second place should a 1 at the first weigh as much as? With too few, two means are alike; "
        "with too many, there are holes between them. Written as 47, the numbers 4 and 7 can both be read back.",
        "With ten digits, each place counts ten times as much as the next, so 47 can be read back, and nothing is left "
        "out between 47 and 48. Here a place has `n_numbers` digits. Begin with 1 at the last place; at the end, "
        "see to it that the weights sum to 1.",
    ),
    reference=unequal_weights,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, Could one head do both, if it had to?",
)
