"""ALiBi bias: minus slope times distance, added to the scores (Press et al. 2021, section 3)."""

import math

import torch

from course_lib.exercises.ch01_positions.alibi_slopes import alibi_slopes
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def alibi_bias(n_heads, n):
    position = torch.arange(n)
    distance = (position[:, None] - position).clamp(min=0)  # how far the key lies behind the query
    return -alibi_slopes(n_heads)[:, None, None] * distance


def cases(rng):
    n = int(torch.randint(7, 20, (), generator=rng))
    return [
        Case("2 heads, 4 positions", (2, 4)),
        Case("8 heads, 3 positions", (8, 3)),
        Case("one position: nothing to penalise", (4, 1), expected=torch.zeros(4, 1, 1)),
        Case(f"4 heads, {n} positions", (4, n)),
    ]


def run_case(subject, n_heads, n):
    """The bias, with 0 wherever a key lies ahead of its query: those scores are masked, so any number will do there."""
    bias = subject(n_heads, n)
    return bias.tril() if isinstance(bias, torch.Tensor) and bias.shape == (n_heads, n, n) else bias


@alternative
def with_the_future_masked(n_heads, n):
    slopes = torch.logspace(-8 / n_heads, -8, n_heads, base=2)
    bias = torch.full((n_heads, n, n), -math.inf)
    for query in range(n):
        for key in range(query + 1):
            bias[:, query, key] = slopes * (key - query)
    return bias


@alternative
def both_ways(n_heads, n):
    position = torch.arange(n)
    distance = (position[None] - position[:, None]).abs().float()
    return -torch.einsum("h,qk->hqk", alibi_slopes(n_heads), distance)


def minus_slope_times(distance, n_heads):
    return -alibi_slopes(n_heads)[:, None, None] * distance


@mistake("The sign is wrong: your bias rewards distance, and far keys are to get lower scores.")
def rewards_distance(n_heads, n):
    return -alibi_bias(n_heads, n)


@mistake("All heads have the same slope here; head h has its own.")
def one_slope_for_all_heads(n_heads, n):
    return alibi_bias(n_heads, n)[:1].expand(n_heads, n, n)


@mistake(
    "This is slope times key position. Softmax would not see the difference (each row is off by a constant), but we "
    "ask for minus slope times distance, which is 0 on the diagonal."
)
def slope_times_key_position(n_heads, n):
    key = torch.arange(n).expand(n, n)
    return minus_slope_times(-key, n_heads)


@mistake("This penalises keys far from the start; distance counts from the query backwards.")
def distance_from_the_start(n_heads, n):
    key = torch.arange(n).expand(n, n)
    return minus_slope_times(key, n_heads)


@mistake("A query is at distance 0 from its own key, not 1.")
def distance_from_one(n_heads, n):
    position = torch.arange(n)
    return minus_slope_times(position[:, None] + 1 - position, n_heads)


@mistake("This is a factor for the weights, after softmax. The bias is added to the scores, before it.")
def factor_for_the_weights(n_heads, n):
    return alibi_bias(n_heads, n).exp()


@mistake("The order of the axes is heads, query, key: bring the heads to the front.")
def heads_last(n_heads, n):
    return alibi_bias(n_heads, n).permute(1, 2, 0)


EXERCISE = Exercise(
    id="alibi_bias",
    title="ALiBi bias",
    points=2,
    minutes=6,
    difficulty=2,
    hints=(
        "Make the n x n table of distances first: query position minus key position, by broadcasting.",
        "`-alibi_slopes(n_heads)[:, None, None] * distance`: the two new axes give each head its own slope.",
    ),
    reference=alibi_bias,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("alibi_slopes",),
    see="Press et al. 2021, section 3",
)
