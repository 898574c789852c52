"""The answer of a chain in which one number was changed, found from code that takes one step twice."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def answer_if_followed(operators, operands, step, number, modulus):
    for later in range(step + 1, operands.shape[1]):
        b = operands[:, later]
        number = torch.where(operators[:, later] == 0, number + b, number * b) % modulus
    return number


def cases(rng):
    def chains(rows, steps, step, modulus):
        operators = torch.randint(2, (rows, steps), generator=rng)
        operands = torch.randint(1, modulus, (rows, steps), generator=rng)
        return operators, operands, step, torch.randint(modulus, (rows,), generator=rng), modulus

    return [
        Case(
            "by hand: +5 *4 +6, and 2 is written after the first step",
            (torch.tensor([[0, 1, 0]]), torch.tensor([[5, 4, 6]]), 0, torch.tensor([2]), 7),
            expected=torch.tensor([0]),
        ),
        Case("6 steps, the second is changed", chains(8, 6, 1, 7)),
        Case("6 steps, the last but one is changed", chains(8, 6, 4, 7)),
        Case("the last number is changed", chains(8, 4, 3, 7)),
        Case("9 steps modulo 5, the first is changed", chains(8, 9, 0, 5)),
    ]


@alternative
def without_the_steps_before(operators, operands, step, number, modulus):
    rest = zip(operators[:, step + 1 :].unbind(1), operands[:, step + 1 :].unbind(1), strict=True)
    for times, b in rest:
        number = (number + b * (1 - times)) * (1 + (b - 1) * times) % modulus
    return number


@alternative
def row_by_row(operators, operands, step, number, modulus):
    answers = []
    for marks, numbers, now in zip(operators.tolist(), operands.tolist(), number.tolist(), strict=True):
        for times, b in list(zip(marks, numbers, strict=True))[step + 1 :]:
            now = (now * b if times else now + b) % modulus
        answers.append(now)
    return torch.tensor(answers)


@mistake(
    "The fault is still there: `number` is what stands *after* step `step`, and this step is taken once more. Begin "
    "with the next one.",
    given=True,
)
def one_step_twice(operators, operands, step, number, modulus):
    return answer_if_followed(operators, operands, step - 1, number, modulus)


@mistake("One step is left out. The first one to take is `step + 1`.")
def one_step_left_out(operators, operands, step, number, modulus):
    return answer_if_followed(operators, operands, step + 1, number, modulus)


@mistake("All steps are taken here, from the first on. The changed number stands after `step`: go on from there.")
def all_steps(operators, operands, step, number, modulus):
    return answer_if_followed(operators, operands, -1, number, modulus)


@mistake("This is the changed number itself. Take the steps that are left.")
def the_number_itself(operators, operands, step, number, modulus):
    return number.clone()


@mistake("The last step is missing.")
def without_the_last_step(operators, operands, step, number, modulus):
    return answer_if_followed(operators[:, :-1], operands[:, :-1], step, number, modulus)


@mistake("Plus and times are exchanged here: operator 0 is +, operator 1 is *. That was no fault.")
def exchanged(operators, operands, step, number, modulus):
    return answer_if_followed(1 - operators, operands, step, number, modulus)


@mistake(
    "The numbers are not reduced. Take the remainder, `% modulus`, after each step. (`a + b % m` is a + (b % m): put "
    "brackets around the sum.)"
)
def without_the_modulus(operators, operands, step, number, modulus):
    return answer_if_followed(operators, operands, step, number, 10**9)


@mistake(
    "Both ends are one too early: the step that was taken is taken again, and the last one is left out. Begin with "
    "`step + 1`, and go on to the last."
)
def both_ends_too_early(operators, operands, step, number, modulus):
    return answer_if_followed(operators[:, :-1], operands[:, :-1], step - 1, number, modulus)


@mistake("In each round the same step is taken, `step`. Take the one that the loop is at, `later`.")
def the_same_step_each_time(operators, operands, step, number, modulus):
    b, times = operands[:, step], operators[:, step]
    for _ in range(step + 1, operands.shape[1]):
        number = torch.where(times == 0, number + b, number * b) % modulus
    return number


@mistake(
    "Every step begins at the changed number again, so only the last one is left. It has to go on from the number that "
    "the step before left."
)
def each_from_the_changed_number(operators, operands, step, number, modulus):
    return answer_if_followed(
        operators[:, -1:], operands[:, -1:], -1 if step + 1 < operands.shape[1] else 0, number, modulus
    )


@mistake("The steps are taken from the last to the first. The chain is read from left to right.")
def right_to_left(operators, operands, step, number, modulus):
    left = slice(step + 1, None)
    return answer_if_followed(operators[:, left].flip(1), operands[:, left].flip(1), -1, number, modulus)


@mistake("`len(operands)` is the number of rows. The number of steps is `operands.shape[1]`.")
def as_many_steps_as_rows(operators, operands, step, number, modulus):
    for later in range(step + 1, len(operands)):
        b = operands[:, later]
        number = torch.where(operators[:, later] == 0, number + b, number * b) % modulus
    return number


@mistake(
    "This begins with the step before `step`. The changed number stands after `step`: the first one to take is the "
    "next."
)
def two_steps_too_early(operators, operands, step, number, modulus):
    for later in range(step - 1, operands.shape[1]):
        b = operands[:, later]
        number = torch.where(operators[:, later] == 0, number + b, number * b) % modulus
    return number


@mistake("These are the steps up to `step`, which have been taken. Take those behind it.")
def steps_before(operators, operands, step, number, modulus):
    return answer_if_followed(operators[:, : step + 1], operands[:, : step + 1], -1, number, modulus)


@mistake(
    "The first row is right. The others get the operators of the first one, though each row has its own: "
    "`torch.where` chooses for every row."
)
def operators_of_the_first_row(operators, operands, step, number, modulus):
    return answer_if_followed(operators[:1].expand_as(operators), operands, step, number, modulus)


@mistake("The first row is right. The others get the operands of the first one, though each row has its own.")
def operands_of_the_first_row(operators, operands, step, number, modulus):
    return answer_if_followed(operators, operands[:1].expand_as(operands), step, number, modulus)


@mistake(
    "The products are reduced, and the sums are not. Take the remainder of both: `%` comes before `+`, so a sum needs "
    "brackets around it."
)
def sums_without_the_modulus(operators, operands, step, number, modulus):
    for later in range(step + 1, operands.shape[1]):
        b = operands[:, later]
        number = torch.where(operators[:, later] == 0, number + b, number * b % modulus)
    return number


@mistake(
    "The sums are reduced, and the products are not. Take the remainder, `% modulus`, of what `torch.where` has chosen."
)
def products_without_the_modulus(operators, operands, step, number, modulus):
    for later in range(step + 1, operands.shape[1]):
        b = operands[:, later]
        number = torch.where(operators[:, later] == 0, (number + b) % modulus, number * b)
    return number


@mistake(
    "You moved the operands on by one step, and left the operators where they were. Both belong to the same step: take "
    "both at the same place."
)
def operators_one_too_early(operators, operands, step, number, modulus):
    return answer_if_followed(operators.roll(1, 1), operands, step, number, modulus)


@mistake(
    "You moved the operators on by one step, and left the operands where they were. Both belong to the same step: take "
    "both at the same place."
)
def operands_one_too_early(operators, operands, step, number, modulus):
    return answer_if_followed(operators, operands.roll(1, 1), step, number, modulus)


@mistake(
    "Only the next step is taken, and where there is none the index is too large. Take all steps that are left: a loop "
    "from `step + 1` to the end, which may be empty."
)
def next_step_alone(operators, operands, step, number, modulus):
    b = operands[:, step + 1]
    return torch.where(operators[:, step + 1] == 0, number + b, number * b) % modulus


@mistake(
    "Only one step is taken, the next. Take all that are left: a loop goes from `step + 1` to the end, and `return` "
    "stands behind it."
)
def next_step_if_there_is_one(operators, operands, step, number, modulus):
    return answer_if_followed(operators[:, : step + 2], operands[:, : step + 2], step, number, modulus)


EXERCISE = Exercise(
    id="answer_if_followed",
    title="What a reader of the changed chain answers, with a fault",
    points=2,
    minutes=8,
    difficulty=2,
    kind="debug",
    hints=(
        "Try it on a chain of two steps, by hand, with the number after the first. How many steps are left, and how "
        "many does the code take?",
        "`number` stands *after* the step with the index `step`. So which step is the first that is left? See where "
        "the `range` of the faulty code begins.",
    ),
    reference=answer_if_followed,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, Does the answer rest on the chain?",
)
