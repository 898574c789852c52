"""Causality, measured: how strongly each output of attention reacts to each input."""

import torch

from course_lib.exercises.ch01_attention.attention import attention
from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    mistake,
    mistakes_in,
)


def influence(x, mask=None):
    x = x.clone().requires_grad_()
    out = attention(x, x, x, mask)
    squares = torch.zeros(len(x), len(x), dtype=x.dtype)
    for t in range(len(x)):
        for j in range(x.shape[1]):
            x.grad = None
            out[t, j].backward(retain_graph=True)  # x.grad[s, i]: how this number moves with number i of input s
            squares[t] += x.grad.square().sum(dim=1)
    return squares.sqrt()


def cases(rng):
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    return [
        Case("5 tokens of width 3 under a causal mask", (torch.randn(5, 3, generator=rng), causal)),
        Case("4 tokens of width 6, no mask", (torch.randn(4, 6, generator=rng),)),
        Case("each token sees itself and the next two", (torch.randn(5, 4, generator=rng), causal.T.tril(2))),
    ]


def remark(answer, right):
    """Influences found by nudging are told here: each size of the nudge rounds them otherwise."""
    alike = isinstance(answer, torch.Tensor) and answer.shape == right.shape and answer.dtype == right.dtype
    if alike and (answer - right).abs().max() < 0.02 * right.max():
        return (
            "nearly right. If you have found the slopes by nudging: in single precision that is too coarse here. "
            "`out[t, j].backward(retain_graph=True)` puts the exact slopes into `x.grad`."
        )
    return None


@alternative
def all_at_once(x, mask=None):
    jacobian = torch.autograd.functional.jacobian(lambda x: attention(x, x, x, mask), x)  # n, d, n, d
    return jacobian.norm(dim=(1, 3))


@alternative
def by_autograd_grad(x, mask=None):
    x = x.detach().clone().requires_grad_()
    out = attention(x, x, x, mask)
    rows = []
    for t in range(len(x)):
        grads = [torch.autograd.grad(out[t, j], x, retain_graph=True)[0] for j in range(x.shape[1])]
        rows.append(torch.stack(grads).square().sum(dim=(0, 2)).sqrt())
    return torch.stack(rows)


@mistake("This looks transposed: row t is the output, column s the input.")
def transposed(x, mask=None):
    return influence(x, mask).T


@mistake("Right without a mask; hand the mask on to `attention`.")
def no_mask(x, mask=None):
    return influence(x)


@mistake(
    "The numbers of an output are added up before `backward`, so opposite slopes cancel. Call it for each number by "
    "itself, and add up the squares of the slopes."
)
def components_added_first(x, mask=None):
    def sums(x):
        return attention(x, x, x, mask).sum(-1)

    return torch.autograd.functional.jacobian(sums, x).norm(dim=-1)


@mistake("The slopes pile up: `backward` adds to `x.grad`. Empty it before each call, with `x.grad = None`.")
def slopes_pile_up(x, mask=None):
    x = x.clone().requires_grad_()
    out = attention(x, x, x, mask)
    squares = torch.zeros(len(x), len(x), dtype=x.dtype)
    for t in range(len(x)):
        for j in range(x.shape[1]):
            out[t, j].backward(retain_graph=True)
            squares[t] += x.grad.square().sum(dim=1)
    return squares.sqrt()


@mistake("These are the sums of the squares: take the square root.")
def squared(x, mask=None):
    return influence(x, mask) ** 2


@mistake(
    "This counts only the way through the values. x is also the queries and the keys: hand the same x, with "
    "`requires_grad_()`, to `attention` three times."
)
def through_the_values_alone(x, mask=None):
    def outputs(v):
        return attention(x, x, v, mask)

    return torch.autograd.functional.jacobian(outputs, x).norm(dim=(1, 3))


@mistake(
    "These are attention weights: how much of each value is taken. But moving an input moves the weights too. "
    "Ask for the slopes of the output."
)
def attention_weights(x, mask=None):
    return attention(x, x, torch.eye(len(x), dtype=x.dtype), mask)


EXERCISE = Exercise(
    id="influence",
    title="Causality, measured",
    points=3,
    minutes=12,
    difficulty=3,
    kind="code",
    hints=(
        "With `x = x.clone().requires_grad_()` and `out = attention(x, x, x, mask)`, what is in `x.grad` after "
        "`out[t, j].backward(retain_graph=True)`? It has the shape of x: one slope for each number of each input.",
        "Loop over t and j. Empty `x.grad` before each `backward`, and add `x.grad.square().sum(dim=1)` to row t of an "
        "n x n table of zeros; at the end, `.sqrt()`.",
    ),
    reference=influence,
    cases=cases,
    remark=remark,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("attention",),
    see="Chapter 1, No looking ahead",
)
