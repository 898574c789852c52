"""What repeated tokens are worth: a geometric sum, with a last epoch that may end early."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def worth(unique, epochs, decay):
    whole = int(epochs)
    first_ones = whole if decay == 1 else (1 - decay**whole) / (1 - decay)
    return unique * (first_ones + (epochs - whole) * decay**whole)


def cases(rng):
    def whole(low, high):
        return int(low + (high - low) * number())

    def number():
        return torch.rand((), generator=rng, dtype=torch.float64).item()

    some = whole(100, 900)
    return [
        Case("by hand: 100 tokens, 3 epochs, each worth half of the one before", (100, 3, 0.5), expected=175.0),
        Case("read once", (some, 1, 0.3 + 0.6 * number()), expected=float(some)),
        Case("not even read once", (whole(100, 900), 0.1 + 0.8 * number(), 0.7)),
        Case("each reading is worth as much as the first", (whole(100, 900), 4.25, 1.0)),
        Case("a repetition is worth nothing", (whole(100, 900), 2 + 3 * number(), 0.0)),
        Case("a few epochs", (whole(100, 900), whole(2, 6), 0.4 + 0.5 * number())),
        Case("the last epoch ends early", (whole(100, 900), 2 + 0.9 * number(), 0.4 + 0.5 * number())),
        Case("many epochs, and the last one ends early", (whole(100, 900), 12 + 9 * number(), 0.8 + 0.15 * number())),
    ]


@alternative
def epoch_by_epoch(unique, epochs, decay):
    total, value = 0.0, 1.0
    while epochs > 0:
        total += unique * value * min(epochs, 1)
        value *= decay
        epochs -= 1
    return total


@alternative
def as_a_sum(unique, epochs, decay):
    whole = int(epochs // 1)
    return sum(unique * decay**k for k in range(whole)) + unique * (epochs % 1) * decay**whole


@mistake(
    "The first reading is worth less than a whole token here. Only repetitions lose: begin with decay to the power 0."
)
def first_one_decays(unique, epochs, decay):
    return decay * epoch_by_epoch.solution(unique, epochs, decay)


@mistake("The last epoch counts in full, though it ended early. Only a share of the tokens were read once more.")
def rounded_up(unique, epochs, decay):
    return epoch_by_epoch.solution(unique, -int(-epochs // 1), decay)


@mistake("The epoch that ended early is left out. Some of the tokens were read once more, and that is worth something.")
def rounded_down(unique, epochs, decay):
    return epoch_by_epoch.solution(unique, int(epochs), decay)


@mistake(
    "This is right for whole epochs. In between it puts a broken number into the power. Within an epoch all readings "
    "are worth the same, so the worth rises in a straight line."
)
def broken_power(unique, epochs, decay):
    return unique * epochs if decay == 1 else unique * (1 - decay**epochs) / (1 - decay)


@mistake(
    "The epoch that ended early is worth as much as the one before it here. It is one reading later: use the next "
    "power."
)
def last_one_too_dear(unique, epochs, decay):
    whole = int(epochs)
    return epoch_by_epoch.solution(unique, whole, decay) + unique * (epochs - whole) * decay ** max(whole - 1, 0)


@mistake("This counts every reading in full: it is the number of tokens read. Repetitions are worth less.")
def all_in_full(unique, epochs, decay):
    return unique * epochs


@mistake("All repetitions are worth the same here. Each one is worth less than the one before: use powers.")
def not_compounded(unique, epochs, decay):
    return unique * (min(epochs, 1) + max(epochs - 1, 0) * decay)


@mistake("This is what endlessly many epochs would be worth. Here the sum ends.")
def without_end(unique, epochs, decay):
    return unique * epochs if decay == 1 else unique / (1 - decay)


@mistake("This is worth a token, not all of them: multiply by `unique`.")
def of_one_token(unique, epochs, decay):
    return epoch_by_epoch.solution(1, epochs, decay)


EXERCISE = Exercise(
    id="worth",
    title="What is a repeated token worth?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="derive",
    hints=(
        "In the first epoch each token counts 1, in the second `decay`, in the third `decay**2`. Sum up whole epochs "
        "first. What is added by the share of an epoch that is left?",
        "`whole = int(epochs)`. The whole ones sum to `(1 - decay**whole) / (1 - decay)`, or `whole` if `decay` is 1; "
        "the rest adds `(epochs - whole) * decay**whole`. All of it times `unique`.",
    ),
    reference=worth,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, What a repeated token is worth",
)
