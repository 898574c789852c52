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


def table_of(x, mask, of_slopes):
    """Row t: what `of_slopes` makes of the slopes (d, n, d) of the numbers of output t."""
    jacobian = torch.autograd.functional.jacobian(lambda x: attention(x, x, x, mask), x)
    return torch.stack([of_slopes(slopes) for slopes in jacobian])


@mistake(
    "This has the slopes of the last number of each output alone: every j writes over what the one before it has left. "
    "Add to the row, `+=`."
)
def last_number_alone(x, mask=None):
    return table_of(x, mask, lambda slopes: slopes[-1].norm(dim=-1))


@mistake(
    "This has the slopes of the first number of each output alone. An output has d numbers, and each has its slopes: "
    "loop over them."
)
def first_number_alone(x, mask=None):
    return table_of(x, mask, lambda slopes: slopes[0].norm(dim=-1))


SIZES_ADDED = (
    "A root is taken for each number of an output, and these are added. The size of all d x d slopes is one root: add "
    "up the squares, and take it at the end."
)


@mistake(SIZES_ADDED)
def sizes_added(x, mask=None):
    return table_of(x, mask, lambda slopes: slopes.norm(dim=-1).sum(0))


@mistake(SIZES_ADDED)
def root_of_sizes(x, mask=None):
    return table_of(x, mask, lambda slopes: slopes.norm(dim=-1).sum(0).sqrt())


@mistake("These are sums of absolute values. The size here is the root of the sum of the squares.")
def absolute_values_added(x, mask=None):
    return table_of(x, mask, lambda slopes: slopes.abs().sum((0, 2)))


@mistake(
    "These are means of the squares, where the sum is asked for. An output that follows more numbers of an input has "
    "more influence."
)
def mean_of_squares(x, mask=None):
    return table_of(x, mask, lambda slopes: slopes.square().mean(-1).sum(0).sqrt())


@mistake(
    "This asks how the *length* of an output moves, `out[t].norm()`, which is one number. An output may turn and keep "
    "its length: take the slopes of each of its numbers."
)
def slopes_of_the_length(x, mask=None):
    def lengths(x):
        return attention(x, x, x, mask).norm(dim=-1)

    return torch.autograd.functional.jacobian(lengths, x).norm(dim=-1)


@mistake(
    "Only the first row is filled in. Is the `return` inside the loop over t? Then the function ends in its first "
    "round: move it to the left."
)
def first_row_alone(x, mask=None):
    table = influence(x, mask)
    table[1:] = 0
    return table


@mistake(
    "This counts only the way through the queries. x is also the keys and the values: hand the same x, with "
    "`requires_grad_()`, to `attention` three times."
)
def through_the_queries_alone(x, mask=None):
    return torch.autograd.functional.jacobian(lambda q: attention(q, x, x, mask), x).norm(dim=(1, 3))


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
        "Loop over t and j. Before each `backward`, `x.grad = None`. After it, each row of `x.grad` belongs to one "
        "input s: the sum of its squares is added at [t, s] of an n x n table of zeros. The root comes at the end.",
    ),
    reference=influence,
    cases=cases,
    remark=remark,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("attention",),
    see="Chapter 1, No looking ahead",
)
