"""Exercises of the lab ch01_attention."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, Mistake, call_and_differentiate


def softmax(x, dim=-1):
    x = x - x.amax(dim=dim, keepdim=True)  # changes nothing, since it cancels; keeps exp from overflowing
    e = x.exp()
    return e / e.sum(dim=dim, keepdim=True)


def _softmax_other_axis(x, dim=-1):
    return torch.softmax(x, dim=-2 if dim in (-1, x.dim() - 1) else -1)


def _softmax_whole(x, dim=-1):
    return torch.softmax(x.flatten(), dim=0).reshape(x.shape)


def _softmax_last_axis_always(x, dim=-1):
    return torch.softmax(x, dim=-1)


def _softmax_overflows(x, dim=-1):
    return x.exp() / x.exp().sum(dim=dim, keepdim=True)


def _softmax_cases(rng):
    x = torch.randn(3, 5, generator=rng)
    return [
        Case("rows of a 3 x 5 matrix", (x,)),
        Case("columns: dim=0", (x,), {"dim": 0}),
        Case("a batch of matrices, dim=1", (torch.randn(2, 4, 3, generator=rng),), {"dim": 1}),
        Case("large scores (1000): no overflow", (x * 50 + 1000,)),
        Case("one -inf score gets weight 0", (x.index_fill(1, torch.tensor([2]), -math.inf),)),
    ]


EXERCISES = [
    Exercise(
        id="softmax",
        title="Softmax",
        points=2,
        minutes=5,
        difficulty=1,
        hints=(
            "Exponentiate, then divide by the sum along `dim`. What does exp(1000) give?",
            "Subtract `x.amax(dim=dim, keepdim=True)` first; `keepdim=True` keeps the shapes broadcastable.",
        ),
        reference=softmax,
        cases=_softmax_cases,
        mistakes=(
            Mistake(_softmax_other_axis, "This looks like softmax over the wrong axis: make the numbers along `dim` sum to 1."),
            Mistake(_softmax_whole, "This looks like one softmax over all numbers at once; each slice along `dim` has its own sum."),
            Mistake(_softmax_last_axis_always, "This looks like softmax over the last axis whatever `dim` says."),
            Mistake(_softmax_overflows, "This overflows: exp(1000) is infinite. Subtract the largest score along `dim` first."),
        ),
        see="Chapter 1, From scores to weights",
        drive=call_and_differentiate,
        avoid=("torch.softmax", "F.softmax", "torch.nn.Softmax", "log_softmax"),
    ),
]
