"""ALiBi bias: minus slope times distance, added to the scores (Press et al. 2021, section 3); found by a symptom."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def alibi_bias(n_heads, n):
    i = torch.arange(1, n_heads + 1)
    slopes = 2.0 ** (-8 * i / n_heads)
    position = torch.arange(n)
    distance = position[:, None] - position  # of each query to each key
    return -slopes[:, None, None] * distance


def cases(rng):
    n, few = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((7, 50), (3, 30)))
    return [
        Case("2 heads, 4 positions", (2, 4)),
        Case(f"8 heads, {few} positions", (8, few)),
        Case("one position: nothing to penalise", (4, 1), expected=torch.zeros(4, 1, 1)),
        Case(f"4 heads, {n} positions", (4, n)),
        Case("6 heads, a number that does not divide 8", (6, 5)),
    ]


def run_case(subject, n_heads, n):
    """The bias, with 0 wherever a key lies ahead of its query: those scores are masked, so any number will do there."""
    bias = subject(n_heads, n)
    return bias.tril() if isinstance(bias, torch.Tensor) and bias.shape == (n_heads, n, n) else bias


@alternative
def with_the_future_masked(n_heads, n):
    slopes = torch.logspace(-8 / n_heads, -8, n_heads, base=2)
    bias = torch.full((n_heads, n, n), -math.inf)
    for head in range(n_heads):
        for query in range(n):
            for key in range(query + 1):
                bias[head, query, key] = -slopes[head] * (query - key)
    return bias


@alternative
def both_ways(n_heads, n):
    slopes = torch.tensor([(2 ** (-8 / n_heads)) ** i for i in range(1, n_heads + 1)])
    position = torch.arange(n)
    distance = (position[None] - position[:, None]).abs().float()
    return -torch.einsum("h,qk->hqk", slopes, distance)


def minus_slope_times(distance, n_heads):
    slopes = 2.0 ** (-8.0 * torch.arange(1, n_heads + 1) / n_heads)
    return -slopes[:, None, None] * distance


@mistake(
    "The fault is still there: each query gives all its keys the same penalty, and softmax does not see what a whole "
    "row has in common. On what should the distance depend, besides the query?",
    given=True,
)
def same_for_all_keys(n_heads, n):
    query = torch.arange(n)[:, None]
    return minus_slope_times(query.expand(n, n), n_heads)


@mistake("The sign is wrong: your bias rewards distance, and far keys are to get lower scores.")
def rewards_distance(n_heads, n):
    return -alibi_bias(n_heads, n)


@mistake("All heads have the same slope here; head h has its own. The slopes had no fault.")
def one_slope_for_all_heads(n_heads, n):
    return alibi_bias(n_heads, n)[:1].expand(n_heads, n, n)


@mistake("The slopes are in the other order here. They had no fault: the first head has the steepest.")
def slopes_reversed(n_heads, n):
    return alibi_bias(n_heads, n).flip(0)


@mistake(
    "This penalises keys by their distance from the last query. Softmax would not see the difference (each row is off "
    "by a constant), but we ask for minus slope times the distance from each query, which is 0 on the diagonal."
)
def distance_from_the_last_query(n_heads, n):
    return minus_slope_times(n - 1 - torch.arange(n).expand(n, n), n_heads)


@mistake(
    "This is slope times key position. Softmax would not see the difference (each row is off by a constant), but we "
    "ask for minus slope times distance, which is 0 on the diagonal."
)
def slope_times_key_position(n_heads, n):
    return minus_slope_times(-torch.arange(n).expand(n, n), n_heads)


@mistake("This penalises keys far from the start; distance counts from the query backwards.")
def distance_from_the_start(n_heads, n):
    return minus_slope_times(torch.arange(n).expand(n, n), n_heads)


@mistake("A query is at distance 0 from its own key, not 1.")
def distance_from_one(n_heads, n):
    position = torch.arange(n)
    return minus_slope_times(position[:, None] + 1 - position, n_heads)


@mistake("The order of the axes is heads, query, key: bring the heads to the front.")
def heads_last(n_heads, n):
    return alibi_bias(n_heads, n).permute(1, 2, 0)


@mistake(
    "The slopes begin with 1 here, and those of `faulty_bias` were right: the first is 2 ** (-8 / n_heads), and the "
    "last 2 ** -8."
)
def slopes_from_zero(n_heads, n):
    slopes = 2.0 ** (-8.0 * torch.arange(n_heads) / n_heads)
    position = torch.arange(n)
    return -slopes[:, None, None] * (position[:, None] - position)


@mistake(
    "The slopes are right only if n_heads divides 8: `8 // n_heads` cuts off what is behind the point. They had no "
    "fault: 2 ** (-8 * i / n_heads), with `/`."
)
def slopes_cut_off(n_heads, n):
    slopes = 2.0 ** (-(8 // n_heads) * torch.arange(1, n_heads + 1))
    position = torch.arange(n)
    return -slopes[:, None, None] * (position[:, None] - position)


@mistake("The slopes are left out. They had no fault: each head multiplies the distance by its own.")
def no_slopes(n_heads, n):
    position = torch.arange(n)
    return -(position[:, None] - position).float().expand(n_heads, n, n)


@mistake("This penalises the keys *after* a query, which are masked anyway. The distance counts to those before it.")
def keys_ahead_alone(n_heads, n):
    return torch.zeros(n_heads, n, n)


@mistake("A query may look at its own key, at distance 0, and here it may not: the loop over keys ends one too early.")
def own_key_hidden(n_heads, n):
    own = torch.eye(n, dtype=torch.bool)
    return alibi_bias(n_heads, n).masked_fill(own, -math.inf)


@mistake(
    "Only the first head is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_head_alone(n_heads, n):
    bias = alibi_bias(n_heads, n)
    bias[1:] = 0
    return bias


@mistake(
    "The slopes are those of 8 heads here, however many there are, and those of `faulty_bias` were right: in "
    "2 ** (-8 * i / n_heads) they depend on the number of heads."
)
def slopes_of_eight_heads(n_heads, n):
    slopes = 2.0 ** -torch.arange(1, n_heads + 1)
    position = torch.arange(n)
    return -slopes[:, None, None] * (position[:, None] - position)


EXERCISE = Exercise(
    id="alibi_bias",
    title="ALiBi's bias, with a fault",
    points=3,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "Print `faulty_bias(1, 4)[0]`, which has a row for each query. What do you see along a row? What does softmax "
        "make of a row to which one number is added?",
        "The line with the fault subtracts the first position, whatever the key. A column less a row, both of length "
        "n, is a table of n x n differences.",
    ),
    reference=alibi_bias,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Press et al. 2021, section 3",
)
