"""How sure one has to be for an answer to be worth its risk, if wrong answers cost and silence earns something."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def threshold(penalty, silence):
    # p - (1 - p) penalty = silence
    return (silence + penalty) / (1 + penalty)


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    return [
        Case("by hand: a wrong answer costs 1, silence earns nothing", (1.0, 0.0), expected=0.5),
        Case("nothing is lost by a guess", (0.0, 0.0), expected=0.0),
        Case("wrong answers cost, silence earns nothing", (number(2, 9), 0.0)),
        Case("wrong answers cost nothing, silence earns something", (0.0, number(0.1, 0.6))),
        Case("wrong answers cost, and silence earns something", (number(0.2, 3), number(0.1, 0.7))),
        Case("a dear mistake, and silence earns something", (number(5, 20), number(0.1, 0.4))),
        Case("silence costs a little, too", (number(1, 4), -number(0.1, 0.5))),
    ]


@alternative
def by_the_line(penalty, silence):
    # The expected score rises from -penalty at p = 0 to 1 at p = 1: where is it as high as silence?
    low, high = -penalty, 1
    return (silence - low) / (high - low)


@alternative
def by_halving(penalty, silence):
    low, high = -1.0, 2.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if p - (1 - p) * penalty < silence else (low, p)
    return (low + high) / 2


@alternative
def collected_step_by_step(penalty, silence):
    # p - penalty + p penalty = silence
    for_each_p = 1 + penalty
    right_side = silence + penalty
    return right_side / for_each_p


@mistake("What silence earns is left out. An answer has to earn more than that.")
def silence_left_out(penalty, silence):
    return penalty / (1 + penalty)


@mistake("What silence earns is added to the threshold. Solve p - (1 - p) penalty = silence for p.")
def silence_added(penalty, silence):
    return penalty / (1 + penalty) + silence


@mistake("The sign of `silence` is wrong: the more silence earns, the surer one has to be.")
def silence_taken_away(penalty, silence):
    return (penalty - silence) / (1 + penalty)


@mistake("This is how *unsure* one may be, 1 - p. How sure one has to be is wanted, p.")
def how_unsure(penalty, silence):
    return (1 - silence) / (1 + penalty)


@mistake(
    "This asks p - penalty = silence, as if every answer cost the penalty. Only a wrong one does: (1 - p) of the cases."
)
def every_answer_costs(penalty, silence):
    return silence + penalty


@mistake("This is where an answer earns as much as it costs. It has to earn as much as *silence*.")
def silence_over(penalty, silence):
    return silence / (1 + penalty)


@mistake(
    "`silence` stands below the fraction too. Collect what is multiplied by p in p - (1 - p) penalty: silence is not "
    "among it."
)
def silence_below_too(penalty, silence):
    return (silence + penalty) / (1 + penalty + silence)


@mistake(
    "`silence` stands below the fraction only. In p - (1 - p) penalty = silence it is on the other side: above the "
    "fraction, beside the penalty."
)
def silence_below_alone(penalty, silence):
    return penalty / (1 + penalty + silence)


@mistake(
    "`silence` is taken off below the fraction. In p - (1 - p) penalty = silence it is on the other side: above the "
    "fraction, beside the penalty."
)
def silence_off_below(penalty, silence):
    return penalty / (1 + penalty - silence)


@mistake("A pair of brackets is missing: `a + b / c + d` divides b by c alone. Put them around both sums.")
def without_brackets(penalty, silence):
    return silence + penalty / 1 + penalty


@mistake(
    "The sign of `penalty` is wrong below the fraction: p - (1 - p) penalty is p + p penalty - penalty, minus times "
    "minus."
)
def sign_below(penalty, silence):
    return (silence + penalty) / (1 - penalty)


@mistake("This is in percent. A probability is a number from 0 to 1.")
def in_percent(penalty, silence):
    return 100 * (silence + penalty) / (1 + penalty)


@mistake(
    "Silence that costs something counts as if it cost nothing here. Then one may answer with less confidence: leave "
    "`silence` as it is, also below 0."
)
def silence_never_costs(penalty, silence):
    return (max(silence, 0) + penalty) / (1 + penalty)


@mistake("This is right to two digits, as a loop over hundredths finds it. Solve the equation for p instead.")
def to_a_hundredth(penalty, silence):
    p = 0
    while p / 100 - (1 - p / 100) * penalty < silence:
        p += 1
    return p / 100


@mistake(
    "The penalty is halved, as if every second answer were wrong. How often it is wrong, 1 - p, is what you look for."
)
def half_are_wrong(penalty, silence):
    return 0.5 * penalty + silence


@mistake(
    "What silence earns is *multiplied* in here. It is what an answer has to reach: solve p - (1 - p) penalty = "
    "silence for p."
)
def silence_multiplied(penalty, silence):
    return penalty / (1 + penalty) * (1 + silence)


@mistake("The fraction is rounded down to a whole number: `//` does that, and `/` does not.")
def rounded_down(penalty, silence):
    return (silence + penalty) // (1 + penalty)


@mistake(
    "This is how *unsure* one may be if silence earns nothing. How sure one has to be is wanted, p, and it rises with "
    "what silence earns."
)
def how_unsure_without_silence(penalty, silence):
    return 1 / (1 + penalty)


@mistake("This divides by 2, as is right for a penalty of 1. What stands at p is 1 + penalty: divide by that.")
def over_two(penalty, silence):
    return (silence + penalty) / 2


@mistake(
    "The threshold never falls below one half here. It may: where a wrong answer costs little, even an unsure one is "
    "worth its risk."
)
def one_half_at_least(penalty, silence):
    return max(0.5, (silence + penalty) / (1 + penalty))


EXERCISE = Exercise(
    id="threshold",
    title="When is an answer worth its risk?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="derive",
    hints=(
        "With probability p the answer earns 1, otherwise it costs the penalty. What does it earn on average? At which "
        "p is this as much as silence earns?",
        "Solve `p - (1 - p) * penalty = silence` for p: first collect what stands at p.",
    ),
    reference=threshold,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, When an answer is worth its risk",
)
