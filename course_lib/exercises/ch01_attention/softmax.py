"""Softmax: from any scores to positive weights that sum to 1."""

import math

import torch
from torch import nn

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def softmax(x, dim=-1):
    x = x - x.amax(dim=dim, keepdim=True)  # changes nothing, since it cancels; keeps exp from overflowing
    e = x.exp()
    return e / e.sum(dim=dim, keepdim=True)


def cases(rng):
    x = torch.randn(3, 5, generator=rng)
    return [
        Case("rows of a 3 x 5 matrix", (x,)),
        Case("columns: dim=0", (x,), {"dim": 0}),
        Case("a batch of matrices, dim=1", (torch.randn(2, 4, 3, generator=rng),), {"dim": 1}),
        # A logarithm of the sum near 1000 is rounded to 3e-5 in float32, and so are weights computed from it.
        Case("large scores (1000): no overflow", (x * 50 + 1000,), rtol=2e-4),
        Case("rows near 0, near 1000, near -1000", (x + torch.tensor([[0.0], [1000.0], [-1000.0]]),), rtol=2e-4),
        # The first of a row too: sums that run along it (`logcumsumexp`) have the gradient NaN behind a leading -inf.
        Case("-inf scores get weight 0", (x.index_fill(1, torch.tensor([0, 2]), -math.inf),)),
    ]


@alternative
def by_logarithms(x, dim=-1):
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True))


@alternative
def slice_by_slice(x, dim=-1):
    rows = []
    for row in x.movedim(dim, -1).reshape(-1, x.shape[dim]):
        e = torch.exp(row - row.max())
        rows.append(e / e.sum())
    return torch.stack(rows).reshape(x.movedim(dim, -1).shape).movedim(-1, dim)


@alternative
def ready_made(x, dim=-1):
    return nn.functional.softmax(x, dim=dim)


def divide_by_the_sum(e, dim):
    return e / e.sum(dim=dim, keepdim=True)


@mistake("This looks like softmax over the wrong axis: make the numbers along `dim` sum to 1.")
def over_the_other_axis(x, dim=-1):
    last = dim in (-1, x.dim() - 1)
    return x.softmax(-2 if last else -1)


@mistake("This looks like one softmax over all numbers at once; each slice along `dim` has its own sum.")
def over_all_numbers(x, dim=-1):
    return x.flatten().softmax(0).reshape(x.shape)


@mistake("This looks like softmax over the last axis, whatever `dim` says. Hand `dim` on to `amax` and to `sum`.")
def over_the_last_axis(x, dim=-1):
    return x.softmax(-1)


@mistake("Right idea, but it overflows: exp(1000) is infinite. Subtract the largest score along `dim` first.")
def overflows(x, dim=-1):
    return divide_by_the_sum(x.exp(), dim)


# `max()` and `amax()` have different gradients where the result is NaN.
ONE_MAXIMUM = (
    "Nearly: one largest number is subtracted from the whole tensor. A row that lies 2000 below it underflows: every "
    "exp is rounded to 0, and 0/0 is NaN. Each slice has its own largest number: `dim=dim, keepdim=True`."
)


@mistake(ONE_MAXIMUM)
def subtracts_the_largest_of_all(x, dim=-1):
    return divide_by_the_sum((x - x.max()).exp(), dim)


@mistake(ONE_MAXIMUM)
def subtracts_the_largest_of_all_by_amax(x, dim=-1):
    return divide_by_the_sum((x - x.amax()).exp(), dim)


@mistake("This divides by the sum without exponentiating, so weights can be negative: take `exp` first.")
def no_exponential(x, dim=-1):
    return divide_by_the_sum(x, dim)


@mistake(
    "The weights are right, and their gradient is NaN behind a score of -inf at the beginning: that is how a running "
    "sum (`logcumsumexp`) is differentiated. Sum along `dim` at once."
)
def by_a_running_sum(x, dim=-1):
    return (x - x.logcumsumexp(dim).narrow(dim, -1, 1)).exp()


@mistake("This looks like the logarithm of softmax; the weights themselves are wanted.")
def logarithm(x, dim=-1):
    return x.log_softmax(dim)


@mistake("This divides by the sum of all exponentials, `sum()` without `dim`. Each slice along `dim` has its own sum.")
def divided_by_the_sum_of_all(x, dim=-1):
    e = (x - x.amax(dim=dim, keepdim=True)).exp()
    return e / e.sum()


NOT_DIVIDED = "These are the exponentials. Divide them by their sum along `dim`, so that the weights sum to 1."


@mistake(NOT_DIVIDED)
def exponentials_alone(x, dim=-1):
    return x.exp()


@mistake(NOT_DIVIDED)
def exponentials_below_the_largest(x, dim=-1):
    return (x - x.amax(dim=dim, keepdim=True)).exp()


@mistake(
    "The mean is subtracted here. Scores far above it still overflow, and one score of -inf makes the mean -inf. "
    "Subtract the largest: then nothing lies above 0."
)
def subtracts_the_mean(x, dim=-1):
    return divide_by_the_sum((x - x.mean(dim=dim, keepdim=True)).exp(), dim)


@mistake(
    "The smallest score is subtracted here, and the others still overflow, far above it. Subtract the largest: then "
    "nothing lies above 0."
)
def subtracts_the_smallest(x, dim=-1):
    return divide_by_the_sum((x - x.amin(dim=dim, keepdim=True)).exp(), dim)


# What is subtracted from the scores shows in their sum.
DIVIDED_BY_SCORES = (
    "This divides by the sum of the scores. Divide by the sum of the exponentials: then the weights sum to 1."
)


@mistake(DIVIDED_BY_SCORES)
def divided_by_the_sum_of_the_scores(x, dim=-1):
    below = x - x.amax(dim=dim, keepdim=True)
    return below.exp() / below.sum(dim=dim, keepdim=True)


@mistake(DIVIDED_BY_SCORES)
def divided_by_the_sum_of_the_scores_as_given(x, dim=-1):
    return (x - x.amax(dim=dim, keepdim=True)).exp() / x.sum(dim=dim, keepdim=True)


@mistake(
    "The largest score is subtracted above the fraction, and not in the sum below it. It cancels only if it is "
    "subtracted in both."
)
def subtracts_above_alone(x, dim=-1):
    return (x - x.amax(dim=dim, keepdim=True)).exp() / x.exp().sum(dim=dim, keepdim=True)


@mistake("This divides by the mean of the exponentials. Divide by their sum: then the weights sum to 1.")
def divided_by_the_mean(x, dim=-1):
    e = (x - x.amax(dim=dim, keepdim=True)).exp()
    return e / e.mean(dim=dim, keepdim=True)


@mistake(
    "The largest score gets the smallest weight here. Take the largest off each score, `x - largest`, and not each "
    "score off the largest."
)
def signs_turned_round(x, dim=-1):
    return divide_by_the_sum((x.amax(dim=dim, keepdim=True) - x).exp(), dim)


@mistake(
    "This divides the scores by the largest one, which changes their differences, and on these the weights depend. "
    "Subtract it: differences stay."
)
def divided_by_the_largest(x, dim=-1):
    return divide_by_the_sum((x / x.amax(dim=dim, keepdim=True)).exp(), dim)


# Above alone, or on both sides.
CLAMPED = (
    "Scores beyond a limit are cut off at the limit, as by `clamp`, and then get the same weight, however far apart "
    "they were. Subtract the largest score along `dim` from each: nothing overflows, and all differences stay."
)


@mistake(CLAMPED)
def clamped_above(x, dim=-1):
    return divide_by_the_sum(x.clamp(max=80).exp(), dim)


@mistake(CLAMPED)
def clamped_on_both_sides(x, dim=-1):
    return divide_by_the_sum(x.clamp(-80, 80).exp(), dim)


EXERCISE = Exercise(
    id="softmax",
    title="Softmax",
    points=2,
    minutes=5,
    difficulty=1,
    kind="code",
    hints=(
        "Exponentiate, then divide by the sum along `dim`. exp(1000) is infinite, and exp(-1000) is rounded to 0, so "
        "the sum may be 0. What could you subtract from each slice first?",
        "Subtract `x.amax(dim=dim, keepdim=True)` first; `keepdim=True` keeps the shapes broadcastable.",
    ),
    reference=softmax,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("torch.softmax", "F.softmax", "torch.nn.Softmax", "log_softmax"),
    see="Chapter 1, Queries, keys and values",
)
