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


# Where not even one epoch is complete, there is none before: the power is 0 then, or -1.
LAST_ONE_TOO_DEAR = (
    "The epoch that ended early is worth as much as the one before it here. It is one reading later: use the next "
    "power."
)


@mistake(LAST_ONE_TOO_DEAR)
def last_one_too_dear_and_the_first_too(unique, epochs, decay):
    whole = int(epochs)
    first_ones = epoch_by_epoch.solution(unique, whole, decay)
    return first_ones + (epochs - whole) * unique * decay ** (whole - 1)


@mistake(LAST_ONE_TOO_DEAR)
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


def _worth(unique, epochs, decay, rest_power=0, first=0, rest=1.0):
    """The sum over whole epochs from `first` on, and `rest` of the epoch that ended early at another power."""
    whole = int(epochs)
    return unique * (
        sum(decay**k for k in range(first, whole)) + rest * (epochs - whole) * decay ** (whole + rest_power)
    )


@mistake(
    "The epoch that ended early is one power too far down. After `whole` full epochs, which had the powers 0 to "
    "`whole` - 1, comes the power `whole`."
)
def rest_too_cheap(unique, epochs, decay):
    return _worth(unique, epochs, decay, rest_power=1)


@mistake(
    "The tokens of the epoch that ended early count in full. They were read before, `whole` times: multiply by "
    "`decay**whole`."
)
def rest_in_full(unique, epochs, decay):
    whole = int(epochs)
    return _worth(unique, whole, decay) + unique * (epochs - whole)


@mistake("There is one epoch too many: `whole` epochs have the powers 0 to `whole` - 1, and what is left comes on top.")
def one_epoch_too_many(unique, epochs, decay):
    return _worth(unique, epochs, decay) + unique * decay ** int(epochs)


@mistake("The first epoch is left out. It has the power 0, and is worth all its tokens.")
def first_left_out(unique, epochs, decay):
    return _worth(unique, epochs, decay, first=1)


@mistake("The share of the epoch that ended early is not multiplied by `unique`. It is a share of all the tokens.")
def rest_of_one_token(unique, epochs, decay):
    whole = int(epochs)
    return _worth(unique, whole, decay) + (epochs - whole) * decay**whole


@mistake(
    "The epoch that ended early is taken for the *power* here. It says how many of the tokens were read once more: "
    "multiply by it."
)
def rest_in_the_power(unique, epochs, decay):
    return _worth(unique, int(epochs), decay) + unique * decay**epochs


@mistake("`round` may go up, and then the rest is below 0. Take the whole epochs, `int(epochs)`.")
def rounded_to_the_nearest(unique, epochs, decay):
    whole = round(epochs)
    return _worth(unique, whole, decay) + unique * (epochs - whole) * decay**whole


@mistake("Each epoch loses the same amount here. It is worth a *part* of the one before: multiply, do not subtract.")
def falls_in_a_line(unique, epochs, decay):
    whole = int(epochs)
    total = sum(max(0, 1 - decay * k) for k in range(whole))
    return unique * (total + (epochs - whole) * max(0, 1 - decay * whole))


@mistake(
    "`decay` is taken for what is *lost* each time. It is the part that is left: with 0.9 the second epoch is worth 90 "
    "of 100 tokens."
)
def decay_as_loss(unique, epochs, decay):
    return _worth(unique, epochs, 1 - decay)


@mistake("This is what the last epoch is worth. Add up all of them.")
def last_epoch_alone(unique, epochs, decay):
    return unique * decay ** (int(epochs) - 1)


@mistake(
    "Every epoch is worth as much as the last one here. The earlier ones are worth more: add up one after another."
)
def all_as_the_last(unique, epochs, decay):
    return unique * epochs * decay ** (epochs - 1)


@mistake("The tokens of the epoch that ended early are rounded down to whole ones. Leave the fraction.")
def whole_tokens(unique, epochs, decay):
    whole = int(epochs)
    return _worth(unique, whole, decay) + int(unique * (epochs - whole)) * decay**whole


@mistake("With a decay of 1, each of the epochs is worth `unique` tokens: what is read four times is worth four times.")
def once_without_decay(unique, epochs, decay):
    return unique if decay == 1 else _worth(unique, epochs, decay)


@mistake("With a decay of 1, the epoch that ended early is left out: add its share of the tokens, as for any other.")
def whole_epochs_without_decay(unique, epochs, decay):
    return unique * int(epochs) if decay == 1 else _worth(unique, epochs, decay)


@mistake("With a decay of 0, only the repetitions are worth nothing. The first epoch counts in full.")
def nothing_with_decay_zero(unique, epochs, decay):
    return 0.0 if decay == 0 else _worth(unique, epochs, decay)


@mistake("With less than one epoch, only a share of the tokens were read at all.")
def one_epoch_at_least(unique, epochs, decay):
    return unique if epochs < 1 else _worth(unique, epochs, decay)


@mistake(
    "With a decay of 1 this divides by 0. The formula of the sum holds only if the decay is not 1. If it is, every "
    "reading is worth as much as the first: treat that case apart. (And the formula is for whole epochs: the share of "
    "an epoch that is left does not belong into the power.)"
)
def broken_power_without_a_case_of_its_own(unique, epochs, decay):
    return unique * (1 - decay**epochs) / (1 - decay)


@mistake(
    "With a decay of 1 this divides by 0. The formula of the sum holds only if the decay is not 1. If it is, every "
    "reading is worth as much as the first: treat that case apart."
)
def no_case_of_its_own(unique, epochs, decay):
    whole = int(epochs)
    return unique * ((1 - decay**whole) / (1 - decay) + (epochs - whole) * decay**whole)


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
        "`whole = int(epochs)` epochs are complete, and their sum is in the task; what is it if `decay` is 1? A share "
        "`epochs - whole` of the tokens is read once more: which power of `decay` is that reading worth?",
    ),
    reference=worth,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, What a repeated token is worth",
)
