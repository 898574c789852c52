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
