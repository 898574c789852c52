"""The number after each step of a chain of additions and multiplications."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def chain_states(start, operators, operands, modulus):
    number, states = start, []
    for step in range(operands.shape[1]):
        b = operands[:, step]
        number = torch.where(operators[:, step] == 0, number + b, number * b) % modulus
        states.append(number)
    return torch.stack(states, dim=1)


def cases(rng):
    def chains(rows, steps, modulus):
        start = torch.randint(modulus, (rows,), generator=rng)
        operators = torch.randint(2, (rows, steps), generator=rng)
        return start, operators, torch.randint(1, modulus, (rows, steps), generator=rng), modulus

    return [
        Case(
            "by hand: 3 +5 *4 +6",
            (torch.tensor([3]), torch.tensor([[0, 1, 0]]), torch.tensor([[5, 4, 6]]), 7),
            expected=torch.tensor([[1, 4, 3]]),
        ),
        Case("one step", chains(8, 1, 7)),
        Case("6 steps modulo 7", chains(6, 6, 7)),
        Case("9 steps modulo 5", chains(4, 9, 5)),
        Case("120 steps modulo 11", chains(3, 120, 11)),
    ]


@alternative
def row_by_row(start, operators, operands, modulus):
    rows = []
    for number, marks, numbers in zip(start.tolist(), operators.tolist(), operands.tolist(), strict=True):
        row = []
        for times, b in zip(marks, numbers, strict=True):
            number = (number * b if times else number + b) % modulus
            row.append(number)
        rows.append(row)
    return torch.tensor(rows)


@alternative
def as_lines(start, operators, operands, modulus):
    # Each step is a line: number * slope + offset.
    slopes = torch.where(operators == 1, operands, torch.ones_like(operands))
    offsets = torch.where(operators == 1, torch.zeros_like(operands), operands)
    states = torch.zeros_like(operands)
    for step in range(operands.shape[1]):
        start = (start * slopes[:, step] + offsets[:, step]) % modulus
        states[:, step] = start
    return states


@mistake("These are the numbers *before* each step. Take the step first, then note the number.")
def before_each_step(start, operators, operands, modulus):
    states = chain_states(start, operators, operands, modulus)
    return torch.cat([start[:, None], states[:, :-1]], dim=1)


@mistake("Plus and times are exchanged here: operator 0 is +, operator 1 is *.")
def exchanged(start, operators, operands, modulus):
    return chain_states(start, 1 - operators, operands, modulus)


@mistake("The start is missing: these chains begin at 0.")
def from_zero(start, operators, operands, modulus):
    return chain_states(torch.zeros_like(start), operators, operands, modulus)


@mistake(
    "The numbers are not reduced. Take the remainder, `% modulus`, after each step. (`a + b % m` is a + (b % m): put "
    "brackets around the sum.)"
)
def without_the_modulus(start, operators, operands, modulus):
    number, states = start, []
    for step in range(operands.shape[1]):
        b = operands[:, step]
        number = torch.where(operators[:, step] == 0, number + b, number * b)
        states.append(number)
    return torch.stack(states, dim=1)


@mistake("Every step begins at the start again. It has to go on from the number that the step before left.")
def each_from_the_start(start, operators, operands, modulus):
    return torch.where(operators == 0, start[:, None] + operands, start[:, None] * operands) % modulus


THE_ANSWER_ALONE = "This is the last number alone. Return the number after *every* step, `(rows, steps)`."


@mistake(THE_ANSWER_ALONE)
def the_answer_alone(start, operators, operands, modulus):
    return chain_states(start, operators, operands, modulus)[:, -1:]


@mistake(THE_ANSWER_ALONE)
def the_answer_alone_without_an_axis(start, operators, operands, modulus):
    return chain_states(start, operators, operands, modulus)[:, -1]


@mistake("The steps stand along the first axis here. Each row is a chain: stack along `dim=1`.")
def transposed(start, operators, operands, modulus):
    return chain_states(start, operators, operands, modulus).T.contiguous()


@mistake("The steps are taken from the last to the first. The chain is read from left to right.")
def right_to_left(start, operators, operands, modulus):
    return chain_states(start, operators.flip(1), operands.flip(1), modulus)


@mistake(
    "Sums are not reduced, and products are. Take the remainder of both. (`a + b % m` is a + (b % m), since `%` is "
    "done first, as `*` is: a sum needs brackets around it.)"
)
def sums_without_the_modulus(start, operators, operands, modulus):
    number, states = start, []
    for step in range(operands.shape[1]):
        b = operands[:, step]
        number = torch.where(operators[:, step] == 0, number + b % modulus, number * b % modulus)
        states.append(number)
    return torch.stack(states, dim=1)


@mistake(
    "The start stands in front of the others. Only the numbers *after* the steps are asked for: begin with an empty "
    "list."
)
def start_as_well(start, operators, operands, modulus):
    return torch.cat([start[:, None], chain_states(start, operators, operands, modulus)], dim=1)


@mistake(
    "One row goes on from where the row before has ended. Each row has its own start: set the number anew at the "
    "beginning of each row."
)
def rows_run_into_each_other(start, operators, operands, modulus):
    number, states = start[0], torch.zeros_like(operands)
    for row in range(len(operands)):
        for step in range(operands.shape[1]):
            b = operands[row, step]
            number = (number + b if operators[row, step] == 0 else number * b) % modulus
            states[row, step] = number
    return states


@mistake(
    "Right for short chains. But the remainder is taken at the end alone, and after many steps the number is larger "
    "than an integer of 64 bits can be. Take `% modulus` after each step."
)
def remainder_at_the_end(start, operators, operands, modulus):
    number, states = start, []
    for step in range(operands.shape[1]):
        b = operands[:, step]
        number = torch.where(operators[:, step] == 0, number + b, number * b)
        states.append(number)
    return torch.stack(states, dim=1) % modulus


@mistake("Every step adds here. Operator 1 multiplies.")
def adds_always(start, operators, operands, modulus):
    return chain_states(start, torch.zeros_like(operators), operands, modulus)


@mistake(
    "The remainder is taken modulo one less than `modulus`. `% modulus` gives numbers from 0 to `modulus - 1` already."
)
def one_less_modulus(start, operators, operands, modulus):
    return chain_states(start, operators, operands, modulus - 1)


@mistake(
    "The operators of the first row are taken for all rows. Each row has its own: `operators[:, step]`, and "
    "`torch.where` chooses row by row."
)
def operators_of_the_first_row(start, operators, operands, modulus):
    return chain_states(start, operators[:1].expand_as(operators), operands, modulus)


EXERCISE = Exercise(
    id="chain_states",
    title="The number after each step",
    points=2,
    minutes=10,
    difficulty=1,
    kind="code",
    hints=(
        "Go through the steps, not the rows: `operators[:, step]` and `operands[:, step]` hold this step of all rows. "
        "`torch.where` chooses between the sum and the product.",
        "In each round `torch.where(operators[:, step] == 0, ..., ...)` takes two tensors, the sum and the product. "
        "Its result, reduced, is the number of the next round, and goes into a list. `torch.stack` makes a table of "
        "the list: along which axis do the steps stand?",
    ),
    reference=chain_states,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, A problem that takes six steps",
)
