"""What several worlds draw, and what can be known about it."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import torch
from jaxtyping import Int
from torch import Tensor


@functools.cache
def largest_share(draws: int, values: int) -> float:
    """The expected share of the most frequent value among uniform draws: how often a guess from counts alone is right.

    Exact: the expected largest count is the sum over c >= 0 of P(some value occurs more than c times).
    """
    short = sum(_arrangements(draws, values, cap) for cap in range(draws))
    return float((draws - Fraction(short, values**draws)) / draws)


def _arrangements(draws: int, values: int, cap: int) -> int:
    """How many sequences of `draws` values have no value more than `cap` times."""
    # ways[n] counts the sequences of n draws over some of the values. Two groups of values combine by choosing which
    # draws fall to the first group, so all values together are a power, taken by repeated squaring.
    one_value = [int(n <= cap) for n in range(draws + 1)]
    ways = [1] + [0] * draws  # no values: only the empty sequence
    while values:
        if values % 2:
            ways = _combine(ways, one_value)
        one_value, values = _combine(one_value, one_value), values // 2
    return ways[draws]


def _combine(a: list[int], b: list[int]) -> list[int]:
    return [sum(math.comb(n, k) * a[k] * b[n - k] for k in range(n + 1)) for n in range(len(a))]


def permutations(batch: int, n: int, generator: torch.Generator) -> Int[Tensor, "{batch} {n}"]:
    """A random order of 0 .. n-1 in every row."""
    return torch.rand(batch, n, generator=generator, dtype=torch.float64).argsort(dim=1)


def distinct(batch: int, n: int, k: int, generator: torch.Generator) -> Int[Tensor, "{batch} {k}"]:
    """k different numbers below n in random order in every row; much faster than all n when k is small."""
    return torch.rand(batch, n, generator=generator, dtype=torch.float64).topk(k).indices
