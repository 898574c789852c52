"""Associative recall: find the value that stood beside a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.worlds.sampling import interleave, permutations, pick


class RecallBatch(NamedTuple):
    """A batch of questions of associative recall."""

    keys: Int[Tensor, "batch pairs"]  # all different within a row
    values: Int[Tensor, "batch pairs"]  # all different within a row
    query: Int[Tensor, " batch"]  # one of the row's keys
    target: Int[Tensor, " batch"]  # the value beside it


@dataclass(frozen=True)
class AssociativeRecall:
    """Associative recall: a row of key-value pairs, then one of the keys; the answer is its value.

    Keys and values are paired at random in every row, so nothing can be memorised.

    Raises:
        ValueError: If there are too few keys or values for all of a row to be different.

    Source: the multi-query form is in Arora et al. 2023, "Zoology".
    """

    n_keys: int = 16
    n_values: int = 16
    n_pairs: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.n_pairs <= min(self.n_keys, self.n_values):
            counts = f"{self.n_keys} keys and {self.n_values} values"
            raise ValueError(f"{self.n_pairs} pairs without repetition cannot be made of {counts}")

    @property
    def vocab_size(self) -> int:
        """The number of tokens in `tokens`: keys first, then values."""
        return self.n_keys + self.n_values

    @property
    def chance(self) -> float:
        """The accuracy without seeing the values: exactly 1 / n_values, whatever the answer."""
        return 1 / self.n_values

    @property
    def unbound_ceiling(self) -> float:
        """The best accuracy of a model that sees the values but not which key each belongs to: exactly 1 / n_pairs."""
        return 1 / self.n_pairs

    def sample(self, batch: int, generator: torch.Generator) -> RecallBatch:
        """Sample questions; every answer is equally likely."""
        keys = permutations(batch, self.n_keys, generator)[:, : self.n_pairs]
        values = permutations(batch, self.n_values, generator)[:, : self.n_pairs]
        asked = torch.randint(self.n_pairs, (batch,), generator=generator)
        return RecallBatch(keys, values, pick(keys, asked), pick(values, asked))

    def tokens(self, batch: RecallBatch) -> Int[Tensor, "batch position"]:
        """Encode questions as sequences `k1 v1 k2 v2 ... query`; value v is the token n_keys + v."""
        return torch.cat([interleave(batch.keys, batch.values + self.n_keys), batch.query[:, None]], dim=1)
