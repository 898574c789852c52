"""Put the heads side by side again: the way back from `split_heads`."""

import torch

from course_lib.exercises.ch01_heads.split_heads import cases as split_cases
from course_lib.exercises.ch01_heads.split_heads import split_heads
from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def merge_heads(x):
    return x.transpose(1, 2).flatten(2)


def cases(rng):
    return [Case(case.name, (split_heads(*case.args),)) for case in split_cases(rng)]


@alternative
def by_cat(x):
    return torch.cat(list(x.unbind(dim=1)), dim=-1)


@alternative
def by_view(x):
    batch, heads, positions, head_dim = x.shape
    return x.transpose(1, 2).contiguous().view(batch, positions, heads * head_dim)


@alternative
def head_by_head(x):
    batch, heads, positions, head_dim = x.shape
    merged = torch.zeros(batch, positions, heads * head_dim, dtype=x.dtype)
    for h in range(heads):
        merged[:, :, h * head_dim : (h + 1) * head_dim] = x[:, h]
    return merged


STILL_THERE = (
    "The fault is still there: numbers of different positions land in one row. A reshape keeps the order in memory, "
    "where the heads come before the positions: exchange these two axes first."
)


@mistake(STILL_THERE, given=True)
def without_transpose(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


@mistake(STILL_THERE, given=True)
def transposed_afterwards(x):
    batch, heads, positions, head_dim = x.shape
    return x.reshape(batch, heads * head_dim, positions).transpose(1, 2)


@mistake(
    "Two axes are exchanged before the reshape, but not the right ones. Those of the heads and the positions have to "
    "change places, axes 1 and 2."
)
def other_axes_exchanged(x):
    batch, heads, positions, head_dim = x.shape
    return x.transpose(1, 3).reshape(batch, positions, heads * head_dim)


@mistake("This interleaves the heads feature by feature; head 0 fills the first head_dim features, head 1 the next.")
def every_nth_feature(x):
    return x.permute(0, 2, 3, 1).flatten(2)


@mistake("This averages the heads, which throws away what they disagree about; put them side by side instead.")
def average(x):
    return x.mean(dim=1)


@mistake("This adds the heads up, so nobody can tell them apart again; put them side by side instead.")
def total(x):
    return x.sum(dim=1)


@mistake("The heads are behind the positions again, but still have an axis of their own: join the last two axes.")
def not_joined(x):
    return x.transpose(1, 2)


WRONG_AXIS = (
    "The heads are joined one below the other, along another axis. A position keeps its row, and the heads stand side "
    "by side in it: join along the features, the last axis."
)


@mistake(WRONG_AXIS)
def joined_along_the_positions(x):
    return x.flatten(1, 2)


@mistake(WRONG_AXIS)
def joined_along_the_batch(x):
    return torch.cat(x.unbind(1))


@mistake("Axis 0 is the batch: a loop over `x` goes through the texts. The heads are axis 1, `x[:, h]`.")
def texts_joined(x):
    return torch.cat(list(x), dim=-1)


@mistake("Head h begins at feature h here, and writes over the one before: it is `h * head_dim`.")
def begins_at_its_number(x):
    batch, heads, positions, head_dim = x.shape
    merged = torch.zeros(batch, positions, heads * head_dim)
    for h in range(heads):
        merged[..., h : h + head_dim] = x[:, h]
    return merged


@mistake(
    "Only the first head is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_head_alone(x):
    merged = torch.zeros(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])
    merged[..., : x.shape[3]] = x[:, 0]
    return merged


@mistake(
    "Positions and features are exchanged before the reshape. Those of the heads and the positions have to change "
    "places, axes 1 and 2."
)
def features_before_positions(x):
    batch, heads, positions, head_dim = x.shape
    return x.transpose(2, 3).reshape(batch, positions, heads * head_dim)


EXERCISE = Exercise(
    id="merge_heads",
    title="Heads side by side, with a fault",
    points=1,
    minutes=5,
    difficulty=1,
    kind="debug",
    hints=(
        "A reshape never moves a number, it only cuts the row of numbers in memory anew. Which two axes have to change "
        "places before it? Undo `split_heads` in the opposite order.",
        "`split_heads` cuts the features, then moves the heads to the front. So move them back first, behind the "
        "positions; then a reshape joins the last two axes. (`view` would complain: after a transpose the numbers do "
        "not lie in order.)",
    ),
    reference=merge_heads,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, One layer, cut into heads",
)
