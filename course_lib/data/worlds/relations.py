"""Two relations that a model has to read at one position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.worlds.sampling import largest_share, permutations, pick


class RelationsBatch(NamedTuple):
    """A batch of questions with two answers each, to be given at the last position."""

    keys: Int[Tensor, "batch position"]  # n_pairs keys, the blank key, the query
    values: Int[Tensor, "batch position"]  # n_pairs values, the value before the query, the blank value
    previous: Int[Tensor, " batch"]  # first answer: the value at the position before the last
    bound: Int[Tensor, " batch"]  # second answer: the value beside the query's key


@dataclass(frozen=True)
class TwoRelations:
    """Rows `k1 v1 ... kn vn`, a lone value, a key; the two answers are the lone value and the key's value.

    Position t holds one key and one value (a model adds their embeddings); the lone value has the blank key `n_pairs`,
    the query the blank value `n_values`. One relation attends to the previous position, the other to an equal key. The
    keys of a row are all n_pairs keys in random order; the values are drawn independently.
    """

    n_pairs: int = 8
    n_values: int = 11

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.n_pairs + 2

    @property
    def chance(self) -> float:
        """The accuracy on both answers together without seeing the values: exactly 1 / n_values squared."""
        return 1 / self.n_values**2

    @property
    def unbound_ceiling(self) -> float:
        """The best accuracy on both answers with the lone value known and only the set of the pairs' values seen."""
        return largest_share(self.n_pairs, self.n_values)

    def sample(self, batch: int, generator: torch.Generator) -> RelationsBatch:
        """Sample questions; the two answers are independent, and each is equally likely to be any value."""
        keys = permutations(batch, self.n_pairs, generator)
        values = torch.randint(self.n_values, (batch, self.n_pairs), generator=generator)
        lone = torch.randint(self.n_values, (batch, 1), generator=generator)
        asked = torch.randint(self.n_pairs, (batch,), generator=generator)
        blank_key, blank_value = torch.full((batch, 1), self.n_pairs), torch.full((batch, 1), self.n_values)
        return RelationsBatch(
            keys=torch.cat([keys, blank_key, pick(keys, asked)[:, None]], dim=1),
            values=torch.cat([values, lone, blank_value], dim=1),
            previous=lone[:, 0],
            bound=pick(values, asked),
        )
