"""In how many directions did a matrix change? As many singular values as make up most of the change."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def effective_rank(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square()
    reached = energy.cumsum(0) / energy.sum() >= share
    return reached.int().argmax().item() + 1


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def some(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def with_values(rows, columns, values):
        u, v = (torch.linalg.qr(normal(n, len(values))).Q for n in (rows, columns))
        return u * torch.tensor(values) @ v.T

    def case(name, change, *share):
        before = normal(*change.shape)
        return Case(name, (before, before + change, *share))

    # No sum comes near the share that is asked for, and the number of directions is another one each time.
    few, odd, many = some(2, 8), 2 * some(2, 7) + 1, some(7, 13)
    return [
        case("a few directions changed alike", with_values(10, 12, [2.0] * few)),
        case("singular values 4, 3, 2, 1", with_values(7, 5, [4.0, 3.0, 2.0, 1.0]), (0.5, 0.8, 0.95)[some(0, 3)]),
        case("equal singular values, half of the sum of squares", with_values(14, 15, [1.0] * odd), 0.5),
        case("many equal singular values", with_values(13, 14, [0.5] * many), 0.72),
        case("a slow decay", with_values(12, 12, [(i + 1) ** -(0.5 + 0.1 * some(0, 8)) for i in range(12)]), 0.9),
    ]


@alternative
def one_after_another(before, after, share=0.9):
    squares = [value**2 for value in torch.linalg.svdvals(after - before).tolist()]
    reached, how_many = 0.0, 0
    for square in squares:
        if reached < share * sum(squares):
            reached += square
            how_many += 1
    return how_many


@alternative
def by_eigenvalues(before, after, share=0.9):
    change = (after - before).double()
    energy = torch.linalg.eigvalsh(change @ change.T).flip(0).clamp(min=0).tolist()
    total, reached = sum(energy), 0.0
    for rank, part in enumerate(energy, start=1):
        reached += part
        if reached >= share * total:
            return rank
    return len(energy)


def shares_so_far(energy):
    """What share of the sum the largest values make up together: one of them, two, three ..."""
    return energy.cumsum(0) / energy.sum()


def first_true(reached):
    return reached.int().argmax().item()


@mistake(
    "This sums the singular values themselves. Sum their squares, which add up to the sum of all squared entries of "
    "the matrix."
)
def not_squared(before, after, share=0.9):
    values = torch.linalg.svdvals(after - before)
    return first_true(shares_so_far(values) >= share) + 1


OF_A_WHOLE_MATRIX = (
    "This is the rank of a whole matrix, before or after tuning. What changed is the difference, `after - before`."
)


@mistake(OF_A_WHOLE_MATRIX)
def of_the_matrix_before(before, after, share=0.9):
    return effective_rank(torch.zeros_like(before), before, share)


@mistake(OF_A_WHOLE_MATRIX)
def of_the_whole_matrix(before, after, share=0.9):
    energy = torch.linalg.svdvals(after).square()
    return first_true(shares_so_far(energy) >= share) + 1


@mistake("One too few: places count from 0, and the number of singular values counts from 1. Add 1.")
def one_too_few(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square()
    return first_true(shares_so_far(energy) >= share)


@mistake(
    "This counts the running sums that have reached the share. Count how many values it takes to reach it: the place "
    "of the first such sum, counted from 1."
)
def counts_all_that_have_reached_it(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square()
    return (shares_so_far(energy) >= share).sum().item()


@mistake(
    "This is the exact rank, on which `share` has no effect. Count how many of the largest singular values it takes to "
    "reach the share."
)
def exact_rank(before, after, share=0.9):
    return torch.linalg.matrix_rank(after - before).item()


@mistake("`share` has no effect: this looks for 90% always. Other shares may be asked for.")
def always_90_percent(before, after, share=0.9):
    return effective_rank(before, after)


@mistake(
    "Each value is compared with the largest. Add them up, the largest first, and see how many it takes to reach the "
    "share of the *sum* of all squares."
)
def compared_with_the_largest(before, after, share=0.9):
    values = torch.linalg.svdvals(after - before)
    return (values >= share * values.max()).sum().item()


@mistake(
    "Each square is compared with the share by itself. Add them up, the largest first, as `cumsum` does: how many make "
    "up the share *together*?"
)
def each_by_itself(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square()
    return (energy / energy.sum() >= share).sum().item()


@mistake("The smallest values come first here. The fewest that make up the share are the largest: begin with these.")
def smallest_first(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square().flip(0)
    return first_true(shares_so_far(energy) >= share) + 1


@mistake(
    "This is a share of the *number* of singular values. Count how many of the largest make up the share of the sum of "
    "their squares."
)
def share_of_their_number(before, after, share=0.9):
    return math.ceil(share * min(before.shape))


@mistake("The running sum is not divided. The share is one of the sum of all squares: divide by `energy.sum()`.")
def not_divided_by_the_sum(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square()
    return first_true(energy.cumsum(0) >= share) + 1


# In the order in which they come, or the largest first.
VALUES_SUBTRACTED = (
    "This subtracts singular values from each other. The matrix that changed is `after - before`: subtract the "
    "matrices, and take the singular values of that."
)


@mistake(VALUES_SUBTRACTED)
def values_subtracted(before, after, share=0.9):
    energy = (torch.linalg.svdvals(after) - torch.linalg.svdvals(before)).square()
    return first_true(shares_so_far(energy) >= share) + 1


@mistake(VALUES_SUBTRACTED)
def values_subtracted_and_sorted(before, after, share=0.9):
    energy = (torch.linalg.svdvals(after) - torch.linalg.svdvals(before)).square()
    return first_true(shares_so_far(energy.sort(descending=True).values) >= share) + 1


@mistake("The squares come too late: this squares the running sum. Square the singular values first, then add them up.")
def sums_squared(before, after, share=0.9):
    sums = torch.linalg.svdvals(after - before).cumsum(0).square()
    return first_true(sums / sums[-1] >= share) + 1


@mistake(
    "1 comes out whatever changed. Does the comparison stand the right way round, and `return` behind the loop? "
    "Counted is how many of the largest values it takes *until* the share is reached."
)
def always_1(before, after, share=0.9):
    return 1


@mistake(
    "The share is squared here. The squares of the singular values make up `share` of the sum of squares, as it is."
)
def share_squared(before, after, share=0.9):
    return effective_rank(before, after, share**2)


@mistake("One too many. With the place of the first that reaches the share counted from 0, add 1.")
def one_too_many(before, after, share=0.9):
    return effective_rank(before, after, share) + 1


@mistake("This looks for 1 - share, which is what may be *missing*. The largest values make up `share` itself.")
def what_may_be_missing(before, after, share=0.9):
    return effective_rank(before, after, 1 - share)


EXERCISE = Exercise(
    id="effective_rank",
    title="How many directions does a change have?",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "`torch.linalg.svdvals(after - before)` gives the singular values, the largest first. Square them, and look "
        "at the running sum.",
        "The running sum divided by the whole sum is the share that the 1, 2, 3 ... largest values make up. At which "
        "place does it reach `share` for the first time? Places count from 0.",
    ),
    reference=effective_rank,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Is the full change of low rank?",
)
