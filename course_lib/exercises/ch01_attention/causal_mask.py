"""The causal mask: who may look at whom, True where a query may look at a key."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def causal_mask(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def cases(rng):
    small, large = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((6, 30), (30, 90)))
    return [Case(f"n = {size}", (size,)) for size in (3, 1, small, large)]


@alternative
def by_comparison(n):
    position = torch.arange(n)
    return position[:, None] >= position[None, :]


@alternative
def by_loops(n):
    return torch.tensor([[s <= t for s in range(n)] for t in range(n)])


@mistake("This is True where a query may NOT look. Some libraries want that; here True means that it may.")
def upside_down(n):
    return ~causal_mask(n)


@mistake("This hides every token from itself, which leaves the first one nothing to look at: keep the diagonal.")
def without_the_diagonal(n):
    return causal_mask(n).tril(-1)


@mistake("This looks transposed: rows are queries and columns are keys, so row t is True in columns 0 to t.")
def transposed(n):
    return causal_mask(n).T


@mistake("This is the additive form, 0 and -inf. It has its uses; here return booleans, True where a query may look.")
def additive(n):
    return torch.full((n, n), -math.inf).triu(1)


@mistake("Right pattern, but made of floats: pass `dtype=torch.bool`.")
def of_floats(n):
    return causal_mask(n).float()


@mistake("Right pattern, but made of integers: pass `dtype=torch.bool`.")
def of_integers(n):
    return causal_mask(n).long()


@mistake("This lets every token see the next one, the very answer it should predict: row t ends at column t.")
def one_too_far(n):
    return torch.ones(n, n, dtype=torch.bool).tril(1)


@mistake("This lets every token see all others, the future included: row t is True in columns 0 to t alone.")
def all_true(n):
    return torch.ones(n, n, dtype=torch.bool)


EXERCISE = Exercise(
    id="causal_mask",
    title="The causal mask",
    points=1,
    minutes=4,
    difficulty=1,
    kind="code",
    hints=(
        "Row t belongs to query t, column s to key s. Which s may t look at, itself included?",
        "`torch.ones(n, n, dtype=torch.bool)` is all True; `.tril()` keeps the lower triangle with the diagonal.",
    ),
    reference=causal_mask,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, No looking ahead",
)
