"""How much do the tokens differ? The size of what is left when their mean is taken off."""

import math

import numpy as np
import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def rank_residual(x):
    centred = x - x.mean(dim=0, keepdim=True)
    return centred.norm() / x.norm()


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    common = normal(6)
    return [
        Case("5 random tokens", (normal(5, 7),)),
        Case("tokens that are much alike", (common + 0.1 * normal(4, 6),)),
        Case("two opposite tokens: their mean is zero", (torch.stack([common, -common]),), expected=1.0),
        Case("large numbers", (300 * normal(3, 4) + 200,)),
    ]


def run_case(subject, x):
    """Ask for a number: a tensor of no dimensions is one, whatever its type."""
    answer = subject(x)
    return answer.item() if getattr(answer, "shape", None) == () else answer


@alternative
def in_float64(x):
    x = x.double()
    return ((x - x.mean(0)).square().sum() / x.square().sum()).sqrt()


@alternative
def by_numpy(x):
    x = x.numpy()
    return np.array(np.linalg.norm(x - x.mean(0)) / np.linalg.norm(x))


@alternative
def by_projection(x):
    n = x.shape[0]
    keep = torch.eye(n, dtype=x.dtype) - torch.full((n, n), 1 / n, dtype=x.dtype)
    return ((keep @ x) ** 2).sum().sqrt() / (x**2).sum().sqrt()


@alternative
def row_by_row(x):
    mean = x.sum(dim=0) / len(x)
    left, whole = 0.0, 0.0
    for token in x:
        left += ((token - mean) ** 2).sum().item()
        whole += (token**2).sum().item()
    return math.sqrt(left / whole)


@mistake(
    "This subtracts each token's own mean. What is left must be the difference between the tokens: subtract the mean "
    "over the tokens, the rows."
)
def mean_over_features(x):
    return (x - x.mean(1, keepdim=True)).norm() / x.norm()


@mistake(
    "This subtracts one number, the mean of the whole table. Subtract a row, the mean over the tokens: `x.mean(dim=0)`."
)
def mean_of_the_table(x):
    return (x - x.mean()).norm() / x.norm()


@mistake("This is not divided by the size of x, so it shrinks whenever x does, and says nothing about likeness.")
def not_divided(x):
    return (x - x.mean(0)).norm()


@mistake("This is the square of the right answer: take the root of the sums of squares.")
def squared(x):
    return ((x - x.mean(0)).norm() / x.norm()).square()


@mistake("This is the size of what the tokens have in common, their mean; return the size of what is left.")
def size_of_the_common_part(x):
    return x.mean(0).norm() * x.shape[0] ** 0.5 / x.norm()


@mistake(
    "This averages a ratio over the tokens. Sum the squares of all differences, and of all numbers, and divide once."
)
def mean_of_ratios(x):
    return ((x - x.mean(0)).norm(dim=1) / x.norm(dim=1)).mean()


@mistake("This takes the first token off all of them. Take off the mean, the row that is nearest to all.")
def first_token_taken_off(x):
    return (x - x[:1]).norm() / x.norm()


@mistake("This divides by the size of the mean. Divide by that of x, so that the result cannot exceed 1.")
def divided_by_the_mean(x):
    return (x - x.mean(0)).norm() / x.mean(0).norm()


@mistake(
    "This takes the standard deviation, which is a mean. The size of what is left is the root of the *sum* of its "
    "squares, `norm()`, as the size of x is."
)
def standard_deviation(x):
    return x.std(dim=0).norm() / x.norm()


@mistake(
    "You take the largest singular value for the size, `ord=2` of a matrix. Here the size is the root of the sum of "
    "*all* squares in the table."
)
def spectral_norm(x):
    return torch.linalg.matrix_norm(x - x.mean(0), ord=2) / torch.linalg.matrix_norm(x, ord=2)


@mistake(
    "You take the length of each token, and compare the sums or means of these lengths. The size of a table is one "
    "root, over the squares of all its numbers."
)
def mean_of_lengths(x):
    return (x - x.mean(0)).norm(dim=1).mean() / x.norm(dim=1).mean()


@mistake(
    "You compare two standard deviations, or take the mean of all numbers off below the line too. The size of `x` is "
    "that of x itself: the root of the sum of its squares."
)
def spread_for_size(x):
    return (x - x.mean(0)).norm() / (x - x.mean()).norm()


@mistake("You compare two variances. The size is the root of the sum of all squares, and that of x takes no mean off.")
def variances(x):
    return (x - x.mean(0)).var() / x.var()


@mistake("You compare the largest numbers of the two tables. Their size is the root of the sum of all squares.")
def largest_number(x):
    return (x - x.mean(0)).abs().max() / x.abs().max()


@mistake("The ratio is upside down: divide the size of what is left by that of x, so that the result is at most 1.")
def upside_down(x):
    return x.norm() / (x - x.mean(0)).norm()


@mistake(
    "This takes the common part off 1. Sizes do not add up in this way, only their squares do: take the mean off the "
    "tokens, and then the size."
)
def one_less_the_common_part(x):
    return 1 - x.mean(0).norm() * x.shape[0] ** 0.5 / x.norm()


@mistake("This is a number for each token. Sum the squares over the whole table, and divide once.")
def one_for_each_token(x):
    return (x - x.mean(0)).norm(dim=1) / x.norm(dim=1)


@mistake("This is the table of what is left, divided by the size of x. Take its size, too: one number.")
def size_not_taken(x):
    return (x - x.mean(0)) / x.norm()


@mistake("These are sums of absolute values. The size here is the root of the sum of the squares.")
def absolute_values(x):
    return (x - x.mean(0)).abs().sum() / x.abs().sum()


ROOT_OF_ONE = "A root is taken of one of the two sums of squares. Take it of both, or of their ratio."


@mistake(ROOT_OF_ONE)
def root_above_alone(x):
    return (x - x.mean(0)).norm() / x.square().sum()


@mistake(ROOT_OF_ONE)
def root_below_alone(x):
    return (x - x.mean(0)).square().sum() / x.norm()


@mistake("The mean of the squares is divided by their sum. Take the sum in both, or the mean in both.")
def mean_over_sum(x):
    return ((x - x.mean(0)).square().mean() / x.square().sum()).sqrt()


@mistake("The *sum* of the rows is taken off every row. Take off their mean.")
def sum_taken_off(x):
    return (x - x.sum(0)).norm() / x.norm()


@mistake(
    "Only the first token was looked at. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_token_alone(x):
    return (x - x.mean(0))[0].norm() / x[0].norm()


@mistake("The mean is added to every row. Take it off.")
def mean_added(x):
    return (x + x.mean(0)).norm() / x.norm()


EXERCISE = Exercise(
    id="rank_residual",
    title="How much do the tokens differ?",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "The mean of all rows is one row: over which dimension? Subtract it from every row, and compare sizes.",
        "`x.mean(dim=0)` is the mean of the rows; broadcasting takes it off every row. The `norm()` of a whole table "
        "is the root of the sum of all its squares.",
    ),
    reference=rank_residual,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, What a stack does to the tokens",
)
