"""Split the features of every position into heads."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def split_heads(x, n_heads):
    batch, positions, d_model = x.shape
    return x.reshape(batch, positions, n_heads, d_model // n_heads).transpose(1, 2)


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    return [
        Case("one sequence of 3 positions, 2 heads", (normal(1, 3, 4), 2)),
        Case("a batch of 2, 5 positions, 3 heads of size 4", (normal(2, 5, 12), 3)),
        Case("as many positions as heads", (normal(2, 4, 8), 4)),
        Case("one head", (normal(2, 3, 6), 1)),
        Case("heads of size 1", (normal(1, 3, 5), 5)),
    ]


@alternative
def by_chunks(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


@alternative
def by_view(x, n_heads):
    return x.view(*x.shape[:2], n_heads, -1).permute(0, 2, 1, 3)


@alternative
def head_by_head(x, n_heads):
    batch, positions, d_model = x.shape
    head_dim = d_model // n_heads
    heads = torch.zeros(batch, n_heads, positions, head_dim, dtype=x.dtype)
    for h in range(n_heads):
        heads[:, h] = x[:, :, h * head_dim : (h + 1) * head_dim]
    return heads


@mistake(
    "This looks like view or reshape alone, which cuts the numbers in memory order and mixes positions with heads: "
    "reshape to (batch, positions, n_heads, head_dim) first, then transpose."
)
def without_transpose(x, n_heads):
    return x.reshape(x.shape[0], n_heads, x.shape[1], -1)


@mistake(
    "This gives head h the features h, h + n_heads, ...; a head takes neighbours: head 0 the first head_dim features, "
    "head 1 the next. In the reshape, n_heads comes before head_dim."
)
def every_nth_feature(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)


ORDER_OF_AXES = (
    "The numbers are right, the order of the axes is not yet: return (batch, heads, positions, head_dim), so that one "
    "matrix product serves all heads at once."
)


@mistake(ORDER_OF_AXES)
def heads_not_moved(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


@mistake(ORDER_OF_AXES)
def last_axes_exchanged(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(2, 3)


@mistake(ORDER_OF_AXES)
def positions_last(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(0, 2, 3, 1)


@mistake(ORDER_OF_AXES)
def heads_before_the_batch(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1))


@mistake("This looks like heads of size n_heads; there are n_heads heads, each of size d_model // n_heads.")
def sizes_exchanged(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).transpose(1, 2)


@mistake("Head h begins at feature h here. The heads before it fill head_dim features each: it is `h * head_dim`.")
def begins_at_its_number(x, n_heads):
    head_dim = x.shape[-1] // n_heads
    return torch.stack([x[..., h : h + head_dim] for h in range(n_heads)], dim=1)


@mistake(
    "Only the first head is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_head_alone(x, n_heads):
    first = torch.arange(n_heads)[:, None, None] == 0
    return torch.where(first, split_heads(x, n_heads), 0.0)


EXERCISE = Exercise(
    id="split_heads",
    title="Split the features into heads",
    points=1,
    minutes=5,
    difficulty=1,
    kind="code",
    hints=(
        "Two steps: give the last axis two axes (heads, head_dim), then bring the heads before the positions.",
        "A reshape to (batch, positions, n_heads, head_dim) cuts the features of each position into neighbours. What "
        "it returns has the heads in axis 2: `transpose` exchanges two axes.",
    ),
    reference=split_heads,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, One layer, cut into heads",
)
