"""Synthetic worlds, small enough that the best cheating answer can be computed exactly."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class RecallBatch(NamedTuple):
    """Questions of associative recall."""

    keys: Int[Tensor, "batch pairs"]  # all different within a row
    values: Int[Tensor, "batch pairs"]
    query: Int[Tensor, " batch"]  # one of the row's keys
    target: Int[Tensor, " batch"]  # the value beside it


@dataclass(frozen=True)
class AssociativeRecall:
    """Recall: a row of key-value pairs, then one of the keys; the answer is the value that stood beside it.

    Which value goes with which key is drawn anew in every row, so nothing can be memorised. Values within a row are all
    different (`distinct`, the default) or drawn independently.
    Raises ValueError when there are too few keys, or values, to be all different.
    Source: the multi-query form is in Arora et al. 2023, "Zoology".
    """

    n_keys: int = 16
    n_values: int = 16
    n_pairs: int = 8
    distinct: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.n_pairs <= self.n_keys:
            raise ValueError(f"{self.n_pairs} pairs with different keys cannot be made of {self.n_keys} keys")
        if self.distinct and self.n_values < self.n_pairs:
            raise ValueError(f"{self.n_pairs} different values cannot be drawn from {self.n_values}")

    @property
    def vocab_size(self) -> int:
        """The number of tokens in `tokens`: keys first, then values."""
        return self.n_keys + self.n_values

    @property
    def chance(self) -> float:
        """The accuracy of whoever cannot see the values: exactly 1 / n_values, whatever is answered."""
        return 1 / self.n_values

    @property
    def unbound_ceiling(self) -> float:
        """The best accuracy of whoever sees which values are there but not beside which key they stand.

        Exactly 1 / n_pairs for distinct values; otherwise the expected share of the most frequent value.
        """
        if self.distinct:
            return 1 / self.n_pairs
        return largest_share(self.n_pairs, self.n_values)

    def sample(self, batch: int, generator: torch.Generator) -> RecallBatch:
        """Draw questions; every answer is equally likely."""
        keys = _permutations(batch, self.n_keys, generator)[:, : self.n_pairs]
        if self.distinct:
            values = _permutations(batch, self.n_values, generator)[:, : self.n_pairs]
        else:
            values = torch.randint(self.n_values, (batch, self.n_pairs), generator=generator)
        asked = torch.randint(self.n_pairs, (batch, 1), generator=generator)
        return RecallBatch(keys, values, keys.gather(1, asked)[:, 0], values.gather(1, asked)[:, 0])

    def tokens(self, batch: RecallBatch) -> Int[Tensor, "batch position"]:
        """The same questions as one sequence `k1 v1 k2 v2 ... query`; value v is the token n_keys + v."""
        pairs = torch.stack([batch.keys, batch.values + self.n_keys], dim=2).flatten(1)
        return torch.cat([pairs, batch.query[:, None]], dim=1)


class RelationsBatch(NamedTuple):
    """Questions with two answers, to be given at the last position."""

    keys: Int[Tensor, "batch position"]  # n_pairs keys, the blank key, the query
    values: Int[Tensor, "batch position"]  # n_pairs values, the value before the query, the blank value
    previous: Int[Tensor, " batch"]  # first answer: the value at the position before the last
    bound: Int[Tensor, " batch"]  # second answer: the value beside the query's key


@dataclass(frozen=True)
class TwoRelations:
    """Two relations at one position: `k1 v1 ... kn vn`, a lone value, a key; asked are the lone value and the key's.

    Position t holds one key and one value (a model adds their embeddings); the lone value has the blank key `n_pairs`,
    the query the blank value `n_values`. One relation looks at the place before, the other for an equal key.
    The keys of a row are all n_pairs keys in random order; the values are drawn independently.
    """

    n_pairs: int = 8
    n_values: int = 11

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.n_pairs + 2

    @property
    def chance(self) -> float:
        """The accuracy on both answers together of whoever sees no values: exactly 1 / n_values squared."""
        return 1 / self.n_values**2

    @property
    def one_relation(self) -> float:
        """The accuracy on both together of whoever has one answer and, for the other, guesses blindly: 1 / n_values."""
        return 1 / self.n_values

    @property
    def unbound_ceiling(self) -> float:
        """The best on both together of whoever has the lone value but sees only which values the pairs hold."""
        return largest_share(self.n_pairs, self.n_values)

    def sample(self, batch: int, generator: torch.Generator) -> RelationsBatch:
        """Draw questions; the two answers are independent, and each is equally likely to be any value."""
        keys = _permutations(batch, self.n_pairs, generator)
        values = torch.randint(self.n_values, (batch, self.n_pairs), generator=generator)
        lone = torch.randint(self.n_values, (batch, 1), generator=generator)
        asked = torch.randint(self.n_pairs, (batch, 1), generator=generator)
        blank_key, blank_value = torch.full((batch, 1), self.n_pairs), torch.full((batch, 1), self.n_values)
        return RelationsBatch(
            keys=torch.cat([keys, blank_key, keys.gather(1, asked)], dim=1),
            values=torch.cat([values, lone, blank_value], dim=1),
            previous=lone[:, 0],
            bound=values.gather(1, asked)[:, 0],
        )


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


def _permutations(batch: int, n: int, generator: torch.Generator) -> Int[Tensor, "{batch} {n}"]:
    """A random order of 0 .. n-1 in every row."""
    return torch.rand(batch, n, generator=generator, dtype=torch.float64).argsort(dim=1)
