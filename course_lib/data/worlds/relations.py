"""Two relations to be read at one position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.worlds.sampling import largest_share, permutations, pick


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
