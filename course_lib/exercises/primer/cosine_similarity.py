"""Cosine similarity: how far two arrows point the same way, whatever their lengths."""

import math

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    mistake,
    mistakes_in,
)


def cosine_similarity(a, b):
    a = a / a.norm(dim=-1, keepdim=True)
    b = b / b.norm(dim=-1, keepdim=True)
    return a @ b.T


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    arrow = normal(1, 4)
    return [
        Case("3 arrows of 4 numbers with 5 others", (normal(3, 4), normal(5, 4))),
        Case("one arrow with itself, its double, its opposite", (arrow, torch.cat([arrow, 2 * arrow, -arrow]))),
        Case("as many arrows as numbers in each", (normal(4, 4), normal(4, 4))),
        Case("very long and very short arrows", (100 * normal(2, 6), 0.01 * normal(3, 6))),
    ]


@alternative
def ready_made(a, b):
    return F.cosine_similarity(a[:, None], b[None], dim=-1)


@alternative
def one_pair_at_a_time(a, b):
    def pair(u, v):
        return (u * v).sum() / ((u * u).sum() * (v * v).sum()).sqrt()

    return torch.stack([torch.stack([pair(u, v) for v in b]) for u in a])


@alternative
def in_plain_python(a, b):
    """Nobody has heard of gradients yet, so a number may leave its tensor."""
    rows, columns = a.tolist(), b.tolist()

    def cosine(u, v):
        return sum(x * y for x, y in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)

    return torch.tensor([[cosine(u, v) for v in columns] for u in rows])


@alternative
def divided_afterwards(a, b):
    lengths = torch.outer(a.square().sum(1).sqrt(), b.square().sum(1).sqrt())
    return torch.einsum("id,jd->ij", a, b) / lengths


@mistake("These are the dot products. Divide each by the lengths of its two arrows, so that only direction counts.")
def dot_products(a, b):
    return a @ b.T


@mistake("Only the first argument is brought to length 1; `b` needs it too.")
def only_a(a, b):
    return a / a.norm(dim=-1, keepdim=True) @ b.T


@mistake("Only the second argument is brought to length 1; `a` needs it too.")
def only_b(a, b):
    return a @ (b / b.norm(dim=-1, keepdim=True)).T


@mistake(
    "One length for all arrows together: `a.norm()` without `dim` takes the whole table as one long arrow. Each row "
    "has its own length: `dim=-1, keepdim=True`."
)
def one_length_for_all(a, b):
    return (a / a.norm()) @ (b / b.norm()).T


@mistake("The lengths are squared: divide by the square root of the sum of squares.")
def squared_lengths(a, b):
    return (a / a.square().sum(-1, keepdim=True)) @ (b / b.square().sum(-1, keepdim=True)).T


@mistake(
    "The lengths are sums of the numbers without their signs. By Pythagoras a length is the square root of the sum of "
    "squares: 3 and 4 make 5, not 7."
)
def sums_for_lengths(a, b):
    return (a / a.abs().sum(-1, keepdim=True)) @ (b / b.abs().sum(-1, keepdim=True)).T


@mistake(
    "Each dot product is divided by the *sum* of the two lengths. Divide by both, one after the other: their product."
)
def sum_of_both_lengths(a, b):
    return a @ b.T / (a.norm(dim=-1)[:, None] + b.norm(dim=-1))


@mistake("This looks transposed: row i belongs to arrow i of `a`, column j to arrow j of `b`.")
def transposed(a, b):
    return cosine_similarity(b, a)


@mistake("These are distances. Cosine similarity is the dot product of the two arrows, each divided by its length.")
def distances(a, b):
    return torch.cdist(a, b)


@mistake(
    "These lengths are those of the *columns*: `dim=0` goes down the table. An arrow is a row, so take "
    "`dim=-1, keepdim=True`."
)
def lengths_of_the_columns(a, b):
    return (a / a.norm(dim=0)) @ (b / b.norm(dim=0)).T


EXERCISE = Exercise(
    id="cosine_similarity",
    title="Cosine similarity",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "Divide each row by its length first. `a.norm(dim=-1, keepdim=True)` has shape (n, 1), which broadcasts.",
        "With both tables divided, all dot products at once are `a @ b.T`.",
    ),
    reference=cosine_similarity,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("F.cosine_similarity", "torch.cosine_similarity", "nn.CosineSimilarity"),
    see="Primer, Words as arrows",
)
