"""How far people agree with each other, and the best that any judge can do."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def agreement(p):
    two_people = (p**2 + (1 - p) ** 2).mean()
    best_guess = torch.maximum(p, 1 - p).mean()
    return [two_people.item(), best_guess.item()]


def cases(rng):
    return [
        Case("everybody agrees on both pairs", (torch.tensor([1.0, 0.0]),)),
        Case("a coin, and a clearer pair", (torch.stack([torch.tensor(0.5), 0.3 * torch.rand((), generator=rng)]),)),
        Case("100 pairs", (torch.rand(100, generator=rng),)),
    ]


@alternative
def by_distance_from_a_coin(p):
    return [(1 - 2 * p * (1 - p)).mean().item(), (0.5 + (p - 0.5).abs()).mean().item()]


@alternative
def pair_by_pair(p):
    same, right = 0.0, 0.0
    for first in p.tolist():
        second = 1 - first
        same += first * first + second * second
        right += max(first, second)
    return [same / len(p), right / len(p)]


@mistake(
    "The first number counts only the people who both prefer the first text, p². Two people also agree when both "
    "prefer the second: add (1 - p)²."
)
def first_text_alone(p):
    best_guess = agreement(p)[1]
    return [(p**2).mean().item(), best_guess]


@mistake("The first number is how often two people disagree. How often they agree is 1 minus that.")
def disagreement(p):
    two_people, best_guess = agreement(p)
    return [1 - two_people, best_guess]


@mistake(
    "The first number is p (1 - p): how often one person prefers the first text, and the next person the second. Two "
    "people agree when both prefer the first text, or both the second: p² + (1 - p)²."
)
def one_way_to_disagree(p):
    best_guess = agreement(p)[1]
    return [(p * (1 - p)).mean().item(), best_guess]


@mistake(
    "The first number is 1 - p (1 - p). There are two ways to disagree, since either of the two may be the one who "
    "prefers the first text: take off 2 p (1 - p). (p + (1 - p)² is the same number: square both.)"
)
def less_one_way_to_disagree(p):
    best_guess = agreement(p)[1]
    return [1 - (p * (1 - p)).mean().item(), best_guess]


@mistake("The mean is taken too early. Work out both numbers for every pair first, and then take their means.")
def of_the_mean_probability(p):
    m = p.mean().item()
    return [m**2 + (1 - m) ** 2, max(m, 1 - m)]


@mistake("These are the right numbers in the other order: first how often two people agree, then the best guess.")
def exchanged(p):
    return agreement(p)[::-1]


@mistake(
    "The second number assumes that the best guess is always the first text. It is the likelier text of each pair: "
    "the larger of p and 1 - p."
)
def always_guesses_the_first(p):
    two_people = agreement(p)[0]
    return [two_people, p.mean().item()]


@mistake(
    "The second number compares the means of p and of 1 - p. Take the larger of the two for each pair, and then the "
    "mean over the pairs."
)
def larger_of_the_means(p):
    two_people = agreement(p)[0]
    return [two_people, max(p.mean().item(), 1 - p.mean().item())]


@mistake(
    "The second number is how often the first text is the likelier one. How often the best guess is right is asked "
    "for: the mean of the larger of p and 1 - p."
)
def how_often_the_first_is_likelier(p):
    two_people = agreement(p)[0]
    return [two_people, (p > 0.5).float().mean().item()]


@mistake("These are sums over the pairs; return the means.")
def sums(p):
    return [number * len(p) for number in agreement(p)]


@mistake(
    "The second number is how often a guess is right that always names the *less* likely text: take the larger of p "
    "and 1 - p."
)
def worst_guess(p):
    two_people, best_guess = agreement(p)
    return [two_people, 1 - best_guess]


@mistake(
    "The first number is 1, whatever p is. Square p and 1 - p each by itself, and add the squares: `1 - p**2` squares "
    "p alone, and `(p + 1 - p) ** 2` is the square of 1."
)
def always_1(p):
    best_guess = agreement(p)[1]
    return [1.0, best_guess]


@mistake(
    "p² and (1 - p)² are multiplied in the first number. Two people agree in the one way *or* in the other, never in "
    "both at once: add."
)
def multiplied(p):
    best_guess = agreement(p)[1]
    return [(p**2 * (1 - p) ** 2).mean().item(), best_guess]


@mistake(
    "The second number is the largest probability of all pairs. Take the larger of p and 1 - p for each pair, and then "
    "the mean over the pairs."
)
def largest_of_all_pairs(p):
    two_people = agreement(p)[0]
    return [two_people, p.max().item()]


@mistake(
    "Brackets are missing in the first number. `1 - p * 1 - p` is 1 - p - p: write `(1 - p) * (1 - p)`, or `(1 - p) ** "
    "2`."
)
def no_brackets(p):
    best_guess = agreement(p)[1]
    return [(p * p + 1 - p * 1 - p).mean().item(), best_guess]


@mistake(
    "In the first number the mean is taken too early. Square for each pair first, then take the mean of the pairs."
)
def first_of_the_mean_probability(p):
    m = p.mean().item()
    return [m**2 + (1 - m) ** 2, agreement(p)[1]]


@mistake(
    "The second number is how far p is from a coin. Being right with a coin is 0.5: the better guess is right with 0.5 "
    "more than that distance, which is the larger of p and 1 - p."
)
def distance_from_a_coin(p):
    return [agreement(p)[0], (p - 0.5).abs().mean().item()]


@mistake(
    "The first number counts only the pairs of people who both prefer the *likelier* text. They agree as well when "
    "both prefer the other: add the square of the smaller probability."
)
def likelier_text_alone(p):
    return [torch.maximum(p, 1 - p).square().mean().item(), agreement(p)[1]]


EXERCISE = Exercise(
    id="agreement",
    title="How far do people agree?",
    points=1,
    minutes=6,
    difficulty=1,
    kind="code",
    hints=(
        "Two people agree when both prefer the first text, with probability p * p, or both prefer the second. A "
        "guesser who knows p names the likelier text.",
        "`torch.maximum(a, b)` takes the larger of two numbers, pair by pair. `.mean()` comes last, and `.item()` "
        "makes a float of it.",
    ),
    reference=agreement,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, How far do people agree?",
)
