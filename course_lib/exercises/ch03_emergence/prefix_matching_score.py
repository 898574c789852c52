"""Is this an induction head? How much it looks at what came after the same token, one period ago."""

import math

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


def prefix_matching_score(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return weights[:, query, query - period + 1].mean(dim=1)


def cases(rng):
    def causal(heads, n):
        future = ~torch.ones(n, n).tril().bool()
        return torch.randn(heads, n, n, generator=rng).masked_fill(future, -math.inf).softmax(-1)

    perfect = torch.zeros(1, 8, 8)
    perfect[0, torch.arange(8), (torch.arange(8) - 3).clamp(min=0)] = 1.0
    return [
        Case("a perfect induction head, period 4", (perfect, 4)),
        Case("3 random heads, 10 tokens, period 4", (causal(3, 10), 4)),
        Case("2 random heads, 12 tokens, period 6", (causal(2, 12), 6)),
        Case("period 2", (causal(2, 7), 2)),
    ]


@alternative
def by_loops(weights, period):
    n = weights.shape[-1]
    scores = []
    for head in weights:
        total = 0
        for t in range(period, n):
            total = total + head[t, t - period + 1]
        scores.append(total / (n - period))
    return torch.stack(scores)


@alternative
def by_diagonal(weights, period):
    return weights.diagonal(offset=1 - period, dim1=-2, dim2=-1)[..., 1:].mean(-1)


def mean_weight(weights, query, key):
    return weights[:, query, key].mean(dim=1)


@mistake(
    "This is the weight on the *same* token one period ago (a duplicate head). An induction head looks one further: at "
    "what came after it, t - period + 1."
)
def same_token(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return mean_weight(weights, query, query - period)


@mistake("Rows and columns are exchanged: `weights[:, t, s]` is how much query t looks at key s.")
def rows_and_columns_exchanged(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return mean_weight(weights, query - period + 1, query)


@mistake("This begins one query too early. At t = period - 1 nothing has been repeated yet: begin at t = period.")
def begins_too_early(weights, period):
    query = torch.arange(period - 1, weights.shape[-1])
    return mean_weight(weights, query, query - period + 1)


@mistake("This begins one query too late. The one at t = period has seen its symbol before, at 0: begin there.")
def begins_too_late(weights, period):
    query = torch.arange(period + 1, weights.shape[-1])
    return mean_weight(weights, query, query - period + 1)


@mistake("This stops after the second copy. Go on to the last query: every one from t = period on has an earlier copy.")
def stops_after_the_second_copy(weights, period):
    query = torch.arange(period, 2 * period)
    return mean_weight(weights, query, query - period + 1)


@mistake("This is the mean over all heads, where one good head drowns; return a score for each.")
def mean_over_heads(weights, period):
    return prefix_matching_score(weights, period).mean()


@mistake("This is the sum over the queries; take their mean.")
def sum_over_queries(weights, period):
    return prefix_matching_score(weights, period) * (weights.shape[-1] - period)


@mistake(
    "This is the mean over a whole block, each of these queries with each of these keys. Each query has one key of its "
    "own: index with two lists of places, `weights[:, query, key]`."
)
def mean_over_a_block(weights, period):
    return weights[:, period:, 1 : weights.shape[-1] - period + 1].mean(dim=(1, 2))


@mistake(
    "This takes in the queries before t = period, for which nothing has come back yet (and their negative places count "
    "from the end). Begin at t = period."
)
def all_queries(weights, period):
    query = torch.arange(weights.shape[-1])
    return mean_weight(weights, query, query - period + 1)


def right_weights(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return weights[:, query, query - period + 1]


@mistake("The sum is divided by the number of all tokens. Only those from t = period on count: divide by their number.")
def divided_by_all_tokens(weights, period):
    return right_weights(weights, period).sum(1) / weights.shape[-1]


@mistake("The sum is divided by the period. Divide by the number of queries, all those from t = period on.")
def divided_by_the_period(weights, period):
    return right_weights(weights, period).sum(1) / period


@mistake("This looks at the token just before the query. What followed the earlier copy stands at t - period + 1.")
def token_before(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return mean_weight(weights, query, query - 1)


@mistake("This looks one place *before* the earlier copy, t - period - 1. What came after it stands at t - period + 1.")
def what_came_before(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return mean_weight(weights, query, query - period - 1)


@mistake("This looks two places behind the earlier copy, t - period + 2. What came next stands at t - period + 1.")
def one_too_far(weights, period):
    query = torch.arange(period, weights.shape[-1])
    return mean_weight(weights, query, query - period + 2)


@mistake("This is the largest of these weights. Take their mean: a head may do it once by chance.")
def largest(weights, period):
    return right_weights(weights, period).amax(1)


@mistake("The mean runs over the heads. Each head has its own score: take the mean over the queries, the last axis.")
def mean_over_the_wrong_axis(weights, period):
    return right_weights(weights, period).mean(0)


@mistake("The last query is left out: `torch.arange(period, n)` ends before n, which is just right.")
def last_query_left_out(weights, period):
    return right_weights(weights, period)[:, :-1].mean(1)


@mistake("These are the weights, and they are right. One step more: their mean, for each head.")
def not_averaged(weights, period):
    return right_weights(weights, period)


@mistake("This has the last query alone: each one writes over what the one before it has left. Add to it, `+=`.")
def last_query_alone(weights, period):
    found = right_weights(weights, period)
    return found[:, -1] / found.shape[1]


@mistake(
    "Only the first head has its score. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_head_alone(weights, period):
    return prefix_matching_score(weights, period) * (torch.arange(len(weights)) == 0)


EXERCISE = Exercise(
    id="prefix_matching_score",
    title="Is this an induction head?",
    points=3,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Query t has seen its token before, at t - period. What came next was one further. Which t have one?",
        "Two lists of places pick one weight for each pair, `weights[:, query, key]`, of shape (heads, pairs). The "
        "queries are a `torch.arange`, and each key stands equally far behind its query.",
    ),
    reference=prefix_matching_score,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Copy what followed last time",
)
