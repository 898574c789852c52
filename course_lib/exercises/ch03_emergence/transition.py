"""When did it happen? The first steps at which a curve is above a low and a high level."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def transition(steps, values, low, high):
    def first(level):
        return next((step for step, value in zip(steps, values, strict=True) if value > level), None)

    return [first(low), first(high)]


def cases(rng):
    noise = torch.rand(10, generator=rng).tolist()
    noisy = [0.05 * i + 0.3 * x for i, x in enumerate(noise)]

    def steps(*numbers):
        later = int(torch.randint(1000, (), generator=rng))
        return [number + later for number in numbers]

    return [
        Case("a jump", (steps(50, 100, 150, 200), [0.02, 0.05, 0.6, 0.97], 0.1, 0.9)),
        Case("never above", (steps(10, 20, 30), [0.02, 0.3, 0.25], 0.1, 0.9)),
        Case("back below, and above again", (steps(1, 2, 3, 4, 5), [0.0, 0.2, 0.05, 0.95, 0.85], 0.1, 0.9)),
        Case("exactly at the level", (steps(5, 10, 15, 20), [0.1, 0.4, 0.9, 1.0], 0.1, 0.9)),
        Case("a noisy rise", (list(range(0, 100, 10)), noisy, 0.1, 0.35)),
    ]


@alternative
def by_loops(steps, values, low, high):
    found = [None, None]
    for step, value in zip(steps, values, strict=True):
        for i, level in enumerate((low, high)):
            if found[i] is None and value > level:
                found[i] = step
    return found


def places_above(values, level):
    return [i for i, value in enumerate(values) if value > level]


@mistake("Nearly: a value that is exactly at the level is not above it. Ask for `value > level`.")
def at_the_level_counts(steps, values, low, high):
    def first(level):
        return next((step for step, value in zip(steps, values, strict=True) if value >= level), None)

    return [first(low), first(high)]


@mistake("These are places in the list; return the steps at those places.")
def places_instead_of_steps(steps, values, low, high):
    return [min(places_above(values, level), default=None) for level in (low, high)]


@mistake("This is the last step above the level; return the first one.")
def last_step_above(steps, values, low, high):
    found = [places_above(values, level) for level in (low, high)]
    return [steps[places[-1]] if places else None for places in found]


@mistake(
    "This is the step from which the value stays above the level. It may have been above before: return the first time."
)
def above_for_good(steps, values, low, high):
    def after_the_last_below(level):
        last_below = max((i for i, value in enumerate(values) if value <= level), default=-1)
        return steps[last_below + 1] if last_below + 1 < len(steps) else None

    return [after_the_last_below(low), after_the_last_below(high)]


EXERCISE = Exercise(
    id="transition",
    title="When did it happen?",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "For each of the two levels: walk through steps and values together, and stop at the first value above it.",
        "`next((step for step, value in zip(steps, values) if value > low), None)`",
    ),
    reference=transition,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Copy what followed last time",
)
