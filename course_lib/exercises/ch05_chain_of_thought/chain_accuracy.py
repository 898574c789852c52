"""How often a chain ends right if each of its steps is right with the same probability."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def chain_accuracy(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        # A right number stays right with p. A wrong one is put right by one of the m - 1 wrong steps.
        right = right * p + (1 - right) * (1 - p) / (modulus - 1)
    return right


def cases(rng):
    def chance(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    return [
        Case("by hand: two steps, modulus 3", (0.5, 2, 3), expected=0.375),
        Case("no steps", (0.6, 0, 7), expected=1.0),
        Case("one step", (chance(0.3, 0.9), 1, 7)),
        Case("6 steps modulo 7", (chance(0.5, 0.9), 6, 7)),
        Case("10 steps modulo 3", (chance(0.5, 0.9), 10, 3)),
        Case("many steps, which are often right", (chance(0.95, 0.99), whole(20, 60), 5)),
        Case("steps that are right less often than by chance", (chance(0.0, 0.2), 3, 3)),
    ]


@alternative
def in_closed_form(p, steps, modulus):
    return 1 / modulus + (1 - 1 / modulus) * ((modulus * p - 1) / (modulus - 1)) ** steps


@alternative
def with_all_numbers(p, steps, modulus):
    # The probability of each distance from the right number.
    share = [1.0] + [0.0] * (modulus - 1)
    for _ in range(steps):
        wrong = (1 - p) / (modulus - 1)
        share = [sum(s * (p if before == now else wrong) for before, s in enumerate(share)) for now in range(modulus)]
    return share[0]


@mistake(
    "This is p to the power of the steps: the chance that *every* step is right. A second wrong step can put a wrong "
    "number right again. Add that, or with many steps you would fall below chance."
)
def all_right(p, steps, modulus):
    return p**steps


@mistake(
    "A wrong step has m - 1 numbers to go to, not m: it never stays where the right step would lead. Divide by "
    "`modulus - 1`."
)
def one_in_modulus(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right) * (1 - p) / modulus
    return right


@mistake(
    "Here every wrong step puts a wrong number right. Of the m - 1 numbers that a wrong step may lead to, only one is "
    "right: divide by `modulus - 1`."
)
def every_wrong_step_repairs(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right) * (1 - p)
    return right


@mistake(
    "A wrong number is put right with 1/(m - 1) at every step here, even where the step is a right one. A right step "
    "leads from a wrong number to a wrong number: only a wrong one, with probability 1 - p, can repair it."
)
def repaired_by_any_step(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right) / (modulus - 1)
    return right


A_STEP_TOO_FEW = "This takes a step too few. With one step, the answer is p."


@mistake(A_STEP_TOO_FEW)
def a_step_too_few(p, steps, modulus):
    return chain_accuracy(p, steps - 1, modulus)


@mistake(A_STEP_TOO_FEW)
def a_power_too_few(p, steps, modulus):
    return in_closed_form.solution(p, steps - 1, modulus)  # above 1 if no step is asked for


@mistake(
    "Without any step you return p. Then nothing has gone wrong yet, and the answer is 1: begin with 1, before the "
    "first step, and take as many steps as are asked."
)
def begins_after_the_first_step(p, steps, modulus):
    return chain_accuracy(p, max(steps, 1), modulus)


@mistake("Without any step you return 0. Then nothing has gone wrong yet, and the answer is 1.")
def nothing_without_steps(p, steps, modulus):
    return chain_accuracy(p, steps, modulus) if steps else 0.0


@mistake("This takes a step too many. With one step, the answer is p, and with none it is 1.")
def a_step_too_many(p, steps, modulus):
    return chain_accuracy(p, steps + 1, modulus)


@mistake("This adds up the errors of the steps. With many of them it would fall below 0: multiply.")
def errors_added_up(p, steps, modulus):
    return 1 - steps * (1 - p)


@mistake("This guesses at random when some step was wrong. But only a second wrong step can repair the first.")
def a_guess_after_an_error(p, steps, modulus):
    return p**steps + (1 - p**steps) / modulus


@mistake(
    "A wrong number is put right with 1/m at every step here. A right step never repairs it, and a wrong one does with "
    "1/(m - 1): that is (1 - p) / (modulus - 1)."
)
def repaired_as_by_a_guess(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right) / modulus
    return right


@mistake(
    "The second line uses the new chance of being right to find that of being wrong. Both belong to the time before "
    "the step: being wrong is 1 - right, always."
)
def updated_too_early(p, steps, modulus):
    right, wrong = 1.0, 0.0
    for _ in range(steps):
        right = right * p + wrong * (1 - p) / (modulus - 1)
        wrong = wrong * p + right * (1 - p)
    return right


@mistake("This begins with a wrong number. Before the first step nothing is wrong yet: begin with 1.")
def begins_wrong(p, steps, modulus):
    right = 0.0
    for _ in range(steps):
        right = right * p + (1 - right) * (1 - p) / (modulus - 1)
    return right


@mistake(
    "This adds up chains with an even number of errors, as if errors undid each other in pairs. Modulo 3 and more, "
    "three errors may come out right as well, and the ways back are fewer. Go step by step: was it right before, or "
    "wrong?"
)
def errors_in_pairs(p, steps, modulus):
    wrong = (1 - p) / (modulus - 1)
    return sum(math.comb(steps, k) * p ** (steps - k) * wrong**k for k in range(0, steps + 1, 2))


@mistake(
    "This counts chains with no error and with two. There may be more of them. Go step by step: was it right before, "
    "or wrong?"
)
def two_errors_at_most(p, steps, modulus):
    two = math.comb(steps, 2) * p ** max(steps - 2, 0) * (1 - p) ** 2 / (modulus - 1)
    return p**steps + two


@mistake(
    "Only two kinds of chains count here: all steps right, and all steps wrong. Most are mixed. Go step by step: was "
    "it right before, or wrong?"
)
def all_right_or_all_wrong(p, steps, modulus):
    return p**steps + ((1 - p) ** steps / (modulus - 1) if steps else 0)


@mistake(
    "This is p to the power of the steps, and chance where that is less. The chance of being right comes down to 1 / m "
    "slowly, since second errors repair first ones all along."
)
def never_below_chance(p, steps, modulus):
    return max(p**steps, 1 / modulus)


@mistake(
    "Here a *right* step repairs a wrong number. It never does: only a wrong step, with probability 1 - p, can lead "
    "back, and only by one of m - 1 ways."
)
def repaired_by_a_right_step(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right) * p / (modulus - 1)
    return right


@mistake(
    "A wrong step counts as a repair here even where the number was right before (in one line, that is `p**n + (1 - "
    "p**n) / (m - 1)`). There it does harm: multiply the second part by the chance of being wrong, 1 - right."
)
def repairs_what_was_right(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - p) / (modulus - 1)
    return right


ONE_REPAIR = (
    "You count a single error: repaired once, at the end, or made by the last step alone. Errors of all steps before "
    "count, at every step: that the number was wrong is 1 less the chance that it was right."
)


@mistake(ONE_REPAIR)
def repaired_once_at_the_end(p, steps, modulus):
    return p**steps + (1 - p**steps) * (1 - p) / (modulus - 1)


@mistake(ONE_REPAIR)
def wrong_before_as_if_by_one_step(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - p) ** 2 / (modulus - 1)
    return right


@mistake(
    "Every step may be repaired at once here, as if a wrong step were right with 1 / (m - 1). A wrong step is wrong; "
    "it can only repair an error of a step *before*."
)
def each_step_repairs_itself(p, steps, modulus):
    return (p + (1 - p) / (modulus - 1)) ** steps


@mistake(
    "(1 - p) is squared here. That the number was wrong before the step is 1 - right already: one more wrong step has "
    "the probability 1 - p, and leads back by one of m - 1 ways."
)
def two_wrong_steps_at_once(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right) * (1 - p) ** 2
    return right


@mistake(
    "All that is not right after the step is guessed among m - 1 numbers here. A number that was right and meets a "
    "wrong step is wrong. Only where it was wrong before can a wrong step lead back."
)
def guessed_after_each_step(p, steps, modulus):
    right = 1.0
    for _ in range(steps):
        right = right * p + (1 - right * p) / (modulus - 1)
    return right


@mistake(
    "This is the chance that *some* step is right, which says nothing about where the chain ends. Go step by step: was "
    "it right before, or wrong?"
)
def some_step_right(p, steps, modulus):
    return 1 - (1 - p) ** steps if steps else 1.0


EXERCISE = Exercise(
    id="chain_accuracy",
    title="How errors add up along a chain",
    points=3,
    minutes=15,
    difficulty=3,
    kind="derive",
    hints=(
        "Let a be the chance that the number is right before a step. There are two ways to be right after it. Which? "
        "Write a after the step as a formula of a, p and m.",
        "It was right, and the step is right. Or it was wrong, the step is wrong as well, and of the m - 1 ways that "
        "a wrong step may go, it goes the one that leads back. Say both with a, p and m, and add. Then take this step "
        "after step, from a = 1.",
    ),
    reference=chain_accuracy,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, Errors along a chain",
)
