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
    mask = torch.zeros(n, n, dtype=torch.bool)
    for t in range(n):
        for s in range(n):
            if s <= t:
                mask[t, s] = True
    return mask


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


@mistake(
    "Only the first row is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_row_alone(n):
    mask = torch.zeros(n, n, dtype=torch.bool)
    mask[0, 0] = True
    return mask


@mistake("The last row is empty: the loop over the rows ends one too early. `range(n)` goes up to n - 1, the last row.")
def last_row_empty(n):
    mask = causal_mask(n)
    mask[-1] = False
    return mask


@mistake("Every token sees itself alone. It may also look at all tokens before it: row t is True in columns 0 to t.")
def diagonal_alone(n):
    return torch.eye(n, dtype=torch.bool)


@mistake("Every token sees itself and the one before it. It may look at all that came before: columns 0 to t of row t.")
def one_token_back(n):
    return causal_mask(n).triu(-1)


@mistake("The first token is hidden from all others, as when a loop begins at 1. Columns count from 0.")
def first_column_empty(n):
    mask = causal_mask(n)
    mask[:, 0] = False
    return mask


EXERCISE = Exercise(
    id="causal_mask",
    title="The causal mask",
    points=1,
    minutes=4,
    difficulty=1,
    kind="code",
    hints=(
        "Row t belongs to query t, column s to key s. Which s may t look at, itself included?",
        "True stands on the diagonal and below it. Begin with a table of True: there is a method of tensors that keeps "
        "the lower triangle. Or begin with False, and let two loops write True where s is not after t.",
    ),
    reference=causal_mask,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, No looking ahead",
)
