"""Helpers that several worlds share: sampling, arranging, and an exact accuracy."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


def permutations(batch: int, n: int, generator: torch.Generator) -> Int[Tensor, "{batch} {n}"]:
    """Sample a random order of 0 ... n-1 for every row."""
    return torch.rand(batch, n, generator=generator, dtype=torch.float64).argsort(dim=1)


def distinct(batch: int, n: int, k: int, generator: torch.Generator) -> Int[Tensor, "{batch} {k}"]:
    """Sample k different numbers below n, in random order, for every row; faster than `permutations` if k is small."""
    return torch.rand(batch, n, generator=generator, dtype=torch.float64).topk(k).indices


def pick(values: Shaped[Tensor, "batch n"], place: Int[Tensor, " batch"]) -> Shaped[Tensor, " batch"]:
    """Return the value at one place of each row."""
    return values.gather(1, place[:, None])[:, 0]


def interleave(
    first: Shaped[Tensor, "batch n *rest"], second: Shaped[Tensor, "batch n *rest"]
) -> Shaped[Tensor, "batch 2*n *rest"]:
    """Interleave the rows `a1 a2 ...` and `b1 b2 ...` as `a1 b1 a2 b2 ...`."""
    return torch.stack([first, second], dim=2).flatten(1, 2)


@functools.cache
def largest_share(draws: int, values: int) -> float:
    """Compute the expected share of the most frequent value among uniform draws.

    It is the accuracy of a guess from the counts alone.

    The result is exact: the expected largest count is the sum over c >= 0 of P(some value occurs more than c times).
    """
    never_above = sum(_arrangements(draws, values, limit) for limit in range(draws))
    return float((draws - Fraction(never_above, values**draws)) / draws)


def _arrangements(draws: int, values: int, limit: int) -> int:
    """Count the sequences of draws in which no value occurs more than `limit` times."""
    ways = [1] + [0] * draws  # of n draws, over the values so far: without values there is only the empty sequence
    for _ in range(values):
        # One more value takes k of the n draws, whichever they are.
        ways = [sum(math.comb(n, k) * ways[n - k] for k in range(min(n, limit) + 1)) for n in range(draws + 1)]
    return ways[draws]
