"""Ranks that make a comparison of places fair: as many trained numbers in each."""

import math

import torch

from course_lib.exercises.ch04_peft.lora_parameters import lora_parameters
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def equal_ranks(places):
    of_rank_1 = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    smallest = math.lcm(*of_rank_1.values())
    return {place: smallest // numbers for place, numbers in of_rank_1.items()}


def cases(rng):
    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def shapes(n, unit, low=1, high=7):
        return [[unit * whole(low, high), unit * whole(low, high)] for _ in range(n)]

    def unequal(*counts, unit):
        # Drawn again until no two places cost the same, and none is a multiple of another: no rank is 1 by luck.
        while True:
            places = {f"place {i}": shapes(n, unit) for i, n in enumerate(counts, start=1)}
            costs = [lora_parameters(each, 1) for each in places.values()]
            if all(one % other for i, one in enumerate(costs) for j, other in enumerate(costs) if i != j):
                return places

    attention, feed_forward = [[192, 64], [64, 64]] * 2, [[256, 64], [64, 256]] * 2
    same = shapes(1, 8)[0]
    return [
        Case("by hand: one matrix of 6 x 4, and one of 4 x 4", ({"wide": [[6, 4]], "square": [[4, 4]]},)),
        Case("this lab's layers", ({"feed-forward": feed_forward, "attention": attention},)),
        Case("one matrix each, of 8 x 8 and of 24 x 16", ({"small": [[8, 8]], "large": [[24, 16]]},)),
        Case("two places with one matrix each", (unequal(1, 1, unit=4),)),
        Case("two places with another number of matrices", (unequal(3, 1, unit=8),)),
        Case("three places", (unequal(2, 1, 2, unit=16),)),
        Case("two places that cost the same", ({"here": [same], "there": [same[::-1]]},)),
    ]


@alternative
def by_trying(places):
    costs = {place: sum(sum(shape) for shape in shapes) for place, shapes in places.items()}
    numbers = largest = max(costs.values())
    while any(numbers % cost for cost in costs.values()):
        numbers += largest
    return {place: numbers // cost for place, cost in costs.items()}


@alternative
def by_common_divisors(places):
    costs = [sum(d_out + d_in for d_out, d_in in shapes) for shapes in places.values()]
    numbers = 1
    for cost in costs:
        numbers = numbers * cost // math.gcd(numbers, cost)
    return {place: numbers // cost for place, cost in zip(places, costs, strict=True)}


def ranks_for(costs):
    return {place: math.lcm(*costs.values()) // cost for place, cost in costs.items()}


@mistake(
    "This gives every place the same rank. But at the same rank, larger or more matrices have more numbers to train, "
    "so the place with more numbers might win by these alone. Make the *numbers* equal."
)
def same_rank(places):
    return dict.fromkeys(places, 1)


ROUNDED = (
    "The numbers are nearly equal here, and not exactly: a rank has been rounded. Take larger ranks, until the numbers "
    "of all places come out the same."
)


def nearly(places, whole):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    return {place: whole(max(costs.values()) / cost) for place, cost in costs.items()}


@mistake(ROUNDED)
def rounded(places):
    return nearly(places, round)


@mistake(ROUNDED)
def rounded_from_the_sum(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    return {place: round(sum(costs.values()) / cost) for place, cost in costs.items()}


@mistake(ROUNDED)
def rounded_down(places):
    return nearly(places, math.floor)


@mistake(ROUNDED)
def rounded_up(places):
    return nearly(places, math.ceil)


@mistake(
    "The numbers are equal, but smaller ranks would do. What is wanted is the smallest number that all the places can "
    "have: the least common multiple of what rank 1 costs in each, not the product."
)
def not_the_smallest(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    return {place: math.prod(costs.values()) // cost for place, cost in costs.items()}


@mistake(
    "With two places this is right. With three it is not: the product of all, divided by their greatest common "
    "divisor, is not the least common multiple. `math.lcm` takes any number of whole numbers."
)
def product_over_the_common_divisor(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    numbers = math.prod(costs.values()) // math.gcd(*costs.values())
    return {place: numbers // cost for place, cost in costs.items()}


@mistake("This counts B alone. LoRA trains A as well: at rank 1, d_out plus d_in numbers for each matrix.")
def b_alone(places):
    return ranks_for({place: sum(d_out for d_out, _ in shapes) for place, shapes in places.items()})


@mistake("It is the other way round: the place where rank 1 costs most needs the *smallest* rank.")
def other_way_round(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    return {place: cost // math.gcd(*costs.values()) for place, cost in costs.items()}


@mistake(
    "This goes by the sizes of the frozen matrices, d_out times d_in. LoRA trains the thin ones: at rank 1, d_out plus "
    "d_in numbers for each matrix."
)
def by_the_frozen_sizes(places):
    return ranks_for({place: sum(d_out * d_in for d_out, d_in in shapes) for place, shapes in places.items()})


@mistake("This counts one matrix in each place. Every matrix of a place gets a LoRA: add up over all of them.")
def first_matrix_alone(places):
    return ranks_for({place: sum(shapes[0]) for place, shapes in places.items()})


@mistake("This counts the matrices, as if all had the same shape. Count the numbers that LoRA trains in each.")
def by_how_many_matrices(places):
    return ranks_for({place: len(shapes) for place, shapes in places.items()})


@mistake("This is how many numbers are trained in each place. Return the rank with which LoRA has as many.")
def numbers_instead_of_ranks(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    return dict.fromkeys(places, math.lcm(*costs.values()))


@mistake(
    "Ranks of 0 come out, which would be no LoRA at all. The number that all places can have is a common *multiple* of "
    "what rank 1 costs in each; a common divisor is too small."
)
def greatest_common_divisor(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    return {place: math.gcd(*costs.values()) // cost for place, cost in costs.items()}


@mistake("This looks at the first two places alone. There may be more: take the least common multiple of all.")
def first_two_places(places):
    costs = {place: lora_parameters(shapes, 1) for place, shapes in places.items()}
    numbers = math.lcm(*list(costs.values())[:2])
    return {place: numbers // cost for place, cost in costs.items()}


@mistake("This counts A alone. LoRA trains B as well: at rank 1, d_out plus d_in numbers for each matrix.")
def a_alone(places):
    return ranks_for({place: sum(d_in for _, d_in in shapes) for place, shapes in places.items()})


@mistake("This is what rank 1 costs in each place. Return the ranks with which all places cost the same.")
def what_rank_1_costs(places):
    return {place: lora_parameters(shapes, 1) for place, shapes in places.items()}


EXERCISE = Exercise(
    id="equal_ranks",
    title="As many numbers in each place",
    points=2,
    minutes=6,
    difficulty=2,
    kind="design",
    hints=(
        "How many numbers does LoRA train in a place at rank 1, and at rank r? So which numbers can a place have at "
        "all? Which is the first that all the places can have?",
        "Each place can have the multiples of its number at rank 1. `math.lcm(6, 10)` is the smallest multiple that "
        "both numbers share, and `math.lcm(*numbers)` that of a whole list. With which rank does a place have it?",
    ),
    reference=equal_ranks,
    cases=cases,
    needs=("lora_parameters",),
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Does the place matter?",
)
