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


@mistake(
    "The fault is still there: numbers of different positions land in one row. A reshape keeps the order in memory, "
    "where the heads come before the positions: exchange these two axes first."
)
def without_transpose(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


@mistake("This interleaves the heads feature by feature; head 0 fills the first head_dim features, head 1 the next.")
def every_nth_feature(x):
    return x.permute(0, 2, 3, 1).flatten(2)


@mistake("This averages the heads, which throws away what they disagree about; put them side by side instead.")
def average(x):
    return x.mean(dim=1)


@mistake("This adds the heads up, so nobody can tell them apart again; put them side by side instead.")
def total(x):
    return x.sum(dim=1)


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
        "`x.transpose(1, 2).flatten(2)`; `view` would complain here: a transposed tensor is not contiguous.",
    ),
    reference=merge_heads,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, One layer, cut into heads",
)
