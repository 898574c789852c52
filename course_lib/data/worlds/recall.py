"""Associative recall: which value stood beside this key?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.worlds.sampling import largest_share, permutations


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
        keys = permutations(batch, self.n_keys, generator)[:, : self.n_pairs]
        if self.distinct:
            values = permutations(batch, self.n_values, generator)[:, : self.n_pairs]
        else:
            values = torch.randint(self.n_values, (batch, self.n_pairs), generator=generator)
        asked = torch.randint(self.n_pairs, (batch, 1), generator=generator)
        return RecallBatch(keys, values, keys.gather(1, asked)[:, 0], values.gather(1, asked)[:, 0])

    def tokens(self, batch: RecallBatch) -> Int[Tensor, "batch position"]:
        """The same questions as one sequence `k1 v1 k2 v2 ... query`; value v is the token n_keys + v."""
        pairs = torch.stack([batch.keys, batch.values + self.n_keys], dim=2).flatten(1)
        return torch.cat([pairs, batch.query[:, None]], dim=1)
