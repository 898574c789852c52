"""Silence one head: what the output weights would read from it becomes zero.

Weights have the layout of nn.Linear, (outputs, inputs), and act as x @ w.T.
"""

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


def ablate_head(w_o, head, n_heads):
    head_dim = w_o.shape[1] // n_heads
    w_o = w_o.clone()  # the caller keeps the whole model
    w_o[:, head * head_dim : (head + 1) * head_dim] = 0
    return w_o


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    return [
        Case("the first of 2 heads", (normal(6, 6), 0, 2)),
        Case("the last of 3 heads", (normal(12, 12), 2, 3)),
        Case("a middle one of 4 heads", (normal(8, 8), 1, 4)),
        Case("more outputs than inputs", (normal(10, 6), 1, 3)),
        Case("more inputs than outputs", (normal(4, 9), 2, 3)),
    ]


@alternative
def by_a_mask(w_o, head, n_heads):
    keep = torch.ones(n_heads)
    keep[head] = 0
    return w_o * keep.repeat_interleave(w_o.shape[1] // n_heads)


@alternative
def by_parts(w_o, head, n_heads):
    parts = list(w_o.chunk(n_heads, dim=1))
    parts[head] = torch.zeros_like(parts[head])
    return torch.cat(parts, dim=1)


@alternative
def column_by_column(w_o, head, n_heads):
    head_dim = w_o.shape[1] // n_heads
    ablated = w_o.clone()
    for column in range(w_o.shape[1]):
        if column // head_dim == head:
            ablated[:, column] = 0
    return ablated


# With head_dim counted from the rows or from the columns.
ZEROES_ROWS = (
    "This zeroes rows. Rows of w_o are its outputs, so a part of every head's message is lost; the columns are its "
    "inputs, and one head fills head_dim of them."
)


@mistake(ZEROES_ROWS)
def zeroes_rows(w_o, head, n_heads):
    head_of_row = torch.arange(w_o.shape[0]) // (w_o.shape[0] // n_heads)
    return w_o * (head_of_row != head)[:, None]


@mistake(ZEROES_ROWS)
def zeroes_as_many_rows_as_columns(w_o, head, n_heads):
    head_of_row = torch.arange(w_o.shape[0]) // (w_o.shape[1] // n_heads)
    return w_o * (head_of_row != head)[:, None]


@mistake("This zeroes every n_heads-th column; a head owns head_dim neighbouring columns.")
def zeroes_every_nth_column(w_o, head, n_heads):
    return w_o * (torch.arange(w_o.shape[1]) % n_heads != head)


@mistake("This is the other way round: it silences every head but this one.")
def keeps_this_head_alone(w_o, head, n_heads):
    return w_o - ablate_head(w_o, head, n_heads)


@mistake("This counts heads from 1; the first head is head 0.")
def counts_from_one(w_o, head, n_heads):
    return ablate_head(w_o, head - 1, n_heads) if head else w_o.clone()


@mistake("head_dim is counted from the rows. A head fills columns: head_dim is `w_o.shape[1] // n_heads`.")
def size_of_the_rows(w_o, head, n_heads):
    head_dim = w_o.shape[0] // n_heads
    head_of_column = torch.arange(w_o.shape[1]) // head_dim
    return w_o * (head_of_column != head)


@mistake("This zeroes n_heads columns. A head owns head_dim of them, which is the number of columns over n_heads.")
def n_heads_columns(w_o, head, n_heads):
    return w_o * (torch.arange(w_o.shape[1]) // n_heads != head)


@mistake("This begins at column `head`. The heads before it fill head_dim columns each, so it is `head * head_dim`.")
def begins_at_its_number(w_o, head, n_heads):
    column, head_dim = torch.arange(w_o.shape[1]), w_o.shape[1] // n_heads
    return w_o * ((column < head) | (column >= head + head_dim))


@mistake("One column too few: a slice ends before its second number, so it is `(head + 1) * head_dim`, without - 1.")
def one_column_too_few(w_o, head, n_heads):
    column, head_dim = torch.arange(w_o.shape[1]), w_o.shape[1] // n_heads
    return w_o * ((column // head_dim != head) | (column % head_dim == head_dim - 1))


@mistake("One column too many, the first of the next head: a slice ends before its second number.")
def one_column_too_many(w_o, head, n_heads):
    column, head_dim = torch.arange(w_o.shape[1]), w_o.shape[1] // n_heads
    return w_o * ((column < head * head_dim) | (column > (head + 1) * head_dim))


@mistake("This removes the columns, so the matrix no longer fits the model; keep the shape and write zeros.")
def removes_the_columns(w_o, head, n_heads):
    return torch.cat([part for h, part in enumerate(w_o.chunk(n_heads, 1)) if h != head], dim=1)


@mistake("The zeros are in the right place, but the other heads were scaled up; leave them alone.")
def scales_up_the_others(w_o, head, n_heads):
    return ablate_head(w_o, head, n_heads) * n_heads / (n_heads - 1)


def without(w_o, start, end):
    """The matrix, with zeros in the columns from `start` to before `end`."""
    column = torch.arange(w_o.shape[1])
    return w_o * ((column < start) | (column >= end))


@mistake("This zeroes the single column `head`. A head fills head_dim neighbouring columns.")
def one_column(w_o, head, n_heads):
    return without(w_o, head, head + 1)


BRACKETS = "The columns end at the wrong place. Mind the brackets: the next head begins at `(head + 1) * head_dim`."


@mistake(BRACKETS)
def one_inside_the_product(w_o, head, n_heads):
    head_dim = w_o.shape[1] // n_heads
    return without(w_o, head * head_dim, head * (head_dim + 1))


@mistake(BRACKETS)
def without_brackets(w_o, head, n_heads):
    head_dim = w_o.shape[1] // n_heads
    return without(w_o, head * head_dim, head + head_dim)


@mistake("This silences the heads behind it, too: the slice needs an end, where the next head begins.")
def all_heads_from_here(w_o, head, n_heads):
    return without(w_o, head * (w_o.shape[1] // n_heads), w_o.shape[1])


@mistake("This silences the heads before it, too: the slice begins where this head begins.")
def all_heads_up_to_here(w_o, head, n_heads):
    return without(w_o, 0, (head + 1) * (w_o.shape[1] // n_heads))


@mistake("This zeroes a square: of the columns of this head some rows alone. All outputs read a head: take all rows.")
def a_square(w_o, head, n_heads):
    rows = torch.arange(w_o.shape[0]) // (w_o.shape[1] // n_heads) == head
    return torch.where(rows[:, None], ablate_head(w_o, head, n_heads), w_o)


@mistake("Nothing is silenced: this is w_o as it came. The columns of this head have to be 0 in what is returned.")
def nothing_silenced(w_o, head, n_heads):
    return w_o.clone()


@mistake("The loop over the columns ends with the number of rows. w_o has `w_o.shape[1]` columns.")
def as_many_columns_as_rows(w_o, head, n_heads):
    ablated = ablate_head(w_o, head, n_heads)
    return torch.where(torch.arange(w_o.shape[1]) < w_o.shape[0], ablated, w_o)


EXERCISE = Exercise(
    id="ablate_head",
    title="Silence one head",
    points=2,
    minutes=5,
    difficulty=1,
    kind="code",
    hints=(
        "After concatenation, head h fills features h * head_dim to (h + 1) * head_dim. What in w_o reads them?",
        "`w_o[:, a:b] = 0`, on a clone, writes zeros into the columns a to b - 1. With head_dim columns to a head, "
        "where does `head` begin, and where does the next one?",
    ),
    reference=ablate_head,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, Which heads matter?",
)
