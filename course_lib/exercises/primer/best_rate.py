"""The best learning rate for knobs of different steepness: a formula to be derived."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def best_rate(steepness):
    return 2 / (min(steepness) + max(steepness))


def cases(rng):
    def between(low, high, n):
        return (low + (high - low) * torch.rand(n, generator=rng, dtype=torch.float64)).tolist()

    flat, (steep,), some = between(0.1, 0.2, 2), between(8, 9, 1), between(0.5, 2, 4)
    return [
        Case("two knobs, as by hand", ([1.0, 3.0],), expected=0.5),
        Case("two knobs, the steeper one first", ([steep, flat[0]],)),
        # Neither end stands first or last, and the mean is not half way between them.
        Case("six knobs, in any order", ([*some[:2], steep, some[2], flat[1], some[3]],)),
        Case("a single knob: one step to the bottom", (between(2, 5, 1),)),
        Case("three knobs, equally steep", (between(2, 5, 1) * 3,)),
        Case("one knob a million times as steep as the other", ([*between(1e-3, 2e-3, 1), *between(1e3, 2e3, 1)],)),
    ]


@alternative
def by_sorting(steepness):
    flattest, *_, steepest = sorted([*steepness, *steepness])
    return 1 / ((flattest + steepest) / 2)


@alternative
def by_narrowing_down(steepness):
    """The worst factor first falls with the rate, then rises: throw away the worse third, again and again."""

    def worst(lr):
        return max(abs(1 - lr * a) for a in steepness)

    low, high = 0.0, 2 / min(steepness)
    for _ in range(300):
        third = (high - low) / 3
        if worst(low + third) > worst(high - third):
            low += third
        else:
            high -= third
    return (low + high) / 2


@alternative
def with_tensors(steepness):
    ends = torch.stack(torch.tensor(steepness, dtype=torch.float64).aminmax())
    return 1 / ends.mean()


@mistake(
    "This brings the steepest knob to the bottom in one step, and is slow for the flattest. A larger rate makes the "
    "steepest one overshoot a little, and the flattest one faster: where are the two equally fast?"
)
def steepest_alone(steepness):
    return 1 / max(steepness)


@mistake(
    "This brings the flattest knob to the bottom in one step. But a knob more than twice as steep then overshoots so "
    "far that each step takes it further away."
)
def flattest_alone(steepness):
    return 1 / min(steepness)


@mistake(
    "At this rate the steepest knob jumps from one side to the other for ever: 1 - lr * steepness is -1. It is the "
    "border between falling and climbing, so the best rate is below it."
)
def at_the_border(steepness):
    return 2 / max(steepness)


@mistake("This is half of the best rate: the flattest knob is slow, and the steepest has not begun to overshoot.")
def half_of_it(steepness):
    return 1 / (min(steepness) + max(steepness))


@mistake(
    "For two knobs this is right, for others not: it divides by the sum of *all* steepnesses. Only the flattest and "
    "the steepest count."
)
def sum_of_all(steepness):
    return 2 / sum(steepness)


@mistake(
    "This takes the mean of all knobs. Only the worst one counts, and that is the flattest or the steepest: those in "
    "between change nothing."
)
def mean_of_all(steepness):
    return len(steepness) / sum(steepness)


@mistake(
    "This is half way between the best rates of the flattest and the steepest knob. The factor 1 - lr * steepness is "
    "what both should share, so take the middle of the two steepnesses, not of their rates."
)
def mean_of_the_rates(steepness):
    return (1 / min(steepness) + 1 / max(steepness)) / 2


@mistake("This is 1 divided by the best rate: the steeper the knobs, the smaller the step has to be.")
def upside_down(steepness):
    return (min(steepness) + max(steepness)) / 2


@mistake(
    "This takes the geometric mean of the flattest and the steepest. Their factors have to be equally far from 0: "
    "1 - lr * flattest on one side, lr * steepest - 1 on the other."
)
def geometric_mean(steepness):
    return (min(steepness) * max(steepness)) ** -0.5


@mistake(
    "This divides 2 by the *difference* of the largest steepness and the smallest. Where the two are equally far from "
    "the bottom, 1 - lr a = -(1 - lr b), and solving for lr gives their sum."
)
def difference_for_sum(steepness):
    return 2 / (max(steepness) - min(steepness))


@mistake(
    "This is the sum of two rates: of the one that suits the steepest knob alone, and of the one that suits the "
    "flattest. It is larger than both, and the steepest knob overshoots. Where are the two equally fast?"
)
def sum_of_the_rates(steepness):
    return 1 / min(steepness) + 1 / max(steepness)


@mistake(
    "The first and the last knob of the list are taken for the flattest and the steepest. These two may stand anywhere "
    "in it."
)
def first_and_last(steepness):
    return 2 / (steepness[0] + steepness[-1])


EXERCISE = Exercise(
    id="best_rate",
    title="The best learning rate",
    points=2,
    minutes=8,
    difficulty=2,
    kind="derive",
    hints=(
        "Draw the size of 1 - lr * steepness over lr, once for the flattest and once for the steepest knob. Each falls "
        "to 0 and rises again. Where is the larger of the two smallest?",
        "At the best rate the flattest and the steepest knob are equally slow, from either side: 1 - lr * flattest = "
        "lr * steepest - 1. Solve this for lr.",
    ),
    reference=best_rate,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Primer, One step, a hundred steps",
)
