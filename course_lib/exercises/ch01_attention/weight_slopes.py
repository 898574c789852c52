"""How far each weight moves when a score moves: the derivative of softmax, to be derived."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def weight_slopes(p):
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def cases(rng):
    def weights(rows, n):
        return torch.randn(rows, n, generator=rng).softmax(-1)

    by_hand = torch.tensor([[0.5, 0.3, 0.2]])
    # As in the lab, where large scores round weights to 0.
    sharp = torch.zeros(2, 4)
    sharp[0, int(torch.randint(4, (), generator=rng))] = 1.0
    sharp[1, torch.randperm(4, generator=rng)[:2]] = weights(1, 2)
    return [
        Case("three weights, as by hand", (by_hand,)),
        Case("one row of 4 weights", (weights(1, 4),)),
        Case("5 rows of 3 weights", (weights(5, 3),)),
        Case("as many rows as weights", (weights(4, 4),)),
        Case("weights of 0, and one of 1", (sharp,)),
    ]


@alternative
def by_broadcasting(p):
    return p[:, :, None] * (torch.eye(p.shape[1], dtype=p.dtype) - p[:, None])


@alternative
def by_loops(p):
    n = p.shape[1]
    slopes = torch.zeros(len(p), n, n, dtype=p.dtype)
    for i in range(n):
        for j in range(n):
            slopes[:, i, j] = p[:, i] * (float(i == j) - p[:, j])
    return slopes


@alternative
def row_by_row(p):
    return torch.stack([torch.diag(row) - torch.outer(row, row) for row in p])


@alternative
def by_autograd(p):
    """The logarithms of the weights are scores that have these weights."""
    x = p.clamp(min=1e-30).log()
    slopes = torch.autograd.functional.jacobian(lambda x: x.softmax(-1).sum(0), x)  # i, row, j
    return slopes.transpose(0, 1)


@mistake(
    "These are the slopes of each weight for its own score, and they are right. But a score moves the other weights, "
    "too: the sum below the fraction grows, so they shrink."
)
def own_scores_alone(p):
    return torch.diag_embed(p * (1 - p))


@mistake(
    "This is right where i and j differ. At `[i, i]` something is missing: the score also stands above the fraction, "
    "which adds p_i."
)
def other_scores_alone(p):
    return -p[:, :, None] * p[:, None, :]


@mistake(
    "This leaves the other scores out: 0 where i and j differ, which is right for an exponential alone. The sum below "
    "the fraction contains every score."
)
def exponential_alone(p):
    return torch.diag_embed(p)


@mistake("The signs are turned round: a higher score raises its own weight, and lowers all others.")
def signs_turned_round(p):
    return p[:, :, None] * p[:, None, :] - torch.diag_embed(p)


@mistake(
    "This is p_i (1 - p_j) everywhere. The 1 belongs to i = j alone: the numbers of a row of slopes have to sum to 0, "
    "since raising all scores alike changes no weight."
)
def one_everywhere(p):
    return p[:, :, None] * (1 - p[:, None, :])


@mistake(
    "These are the slopes of the logarithms of the weights: 1 at the own score, less p_j. A weight moves by p_i times "
    "as much."
)
def slopes_of_the_logarithms(p):
    return torch.eye(p.shape[1], dtype=p.dtype) - p[:, None].expand(-1, p.shape[1], -1)


@mistake("This adds p_i p_j; take it off. The weights go on summing to 1, so what one of them gains the others lose.")
def plus_instead_of_minus(p):
    return torch.diag_embed(p) + p[:, :, None] * p[:, None, :]


@mistake("This has one table for all rows. Each row of weights has its own: shape (rows, n, n).")
def one_table_for_all(p):
    return torch.diag(p.sum(0)) - p.T @ p


@mistake(
    "These are the slopes of -log p_i, as in the primer: p_j, less 1 at the own score. For log p_i the signs turn "
    "round, and a weight moves p_i times as far as its logarithm."
)
def slopes_of_the_surprise(p):
    return p[:, None].expand(-1, p.shape[1], -1) - torch.eye(p.shape[1], dtype=p.dtype)


SAME_WEIGHT_TWICE = (
    "Two different weights meet in a slope: p_i, which moves, and p_j, whose score is turned. Here one of them stands "
    "twice."
)


@mistake(SAME_WEIGHT_TWICE)
def own_weight_twice(p):
    return p[:, :, None] * (torch.eye(p.shape[1], dtype=p.dtype) - p[:, :, None])


@mistake(SAME_WEIGHT_TWICE)
def other_weight_twice(p):
    return p[:, None] * (torch.eye(p.shape[1], dtype=p.dtype) - p[:, None])


@mistake(
    "Right where i and j differ. At `[i, i]` this is 1 - p_i, the slope of the logarithm: a weight moves p_i times as "
    "far."
)
def logarithm_at_the_own_score(p):
    return torch.diag_embed(1 - p) + weight_slopes(p) * (1 - torch.eye(p.shape[1], dtype=p.dtype))


@mistake("Right where i and j are the same. Where they differ the sign is off: the others shrink when a score rises.")
def others_grow(p):
    return weight_slopes(p).abs()


@mistake(
    "Right where i and j are the same. Where they differ this is -p_j, the slope of the logarithm: a weight moves p_i "
    "times as far."
)
def logarithm_at_other_scores(p):
    eye = torch.eye(p.shape[1], dtype=p.dtype)
    return torch.diag_embed(p * (1 - p)) - p[:, None] * (1 - eye)


@mistake("Softmax is applied to `p` here, and these are weights already: softmax has made them of scores.")
def softmax_once_more(p):
    return weight_slopes(p.softmax(-1))


EXERCISE = Exercise(
    id="weight_slopes",
    title="How far do the weights move?",
    points=2,
    minutes=8,
    difficulty=3,
    kind="derive",
    hints=(
        "The primer has found the slopes of -log p_i: p_j, less 1 at j = i. Turn the sign round for those of log p_i. "
        "And if log p_i moves by a little, by how much does p_i move?",
        "p_i moves p_i times as far as log p_i. Write down the slope at its own score, and that at another, and try "
        "both on the numbers by hand. What they share is a product of two weights, `p[:, :, None] * p[:, None, :]`.",
    ),
    reference=weight_slopes,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 1, Why divide by the square root of d",
)
