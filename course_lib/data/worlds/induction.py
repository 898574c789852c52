"""Repeated random blocks, to be continued by induction: predict what followed a symbol the last time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.data.worlds.sampling import permutations


class InductionBatch(NamedTuple):
    """A batch of sequences that repeat a block."""

    tokens: Int[Tensor, "batch position"]
    period: Int[Tensor, " batch"]  # the length of the block
    known: Bool[Tensor, "batch position"]  # tokens of the second copy that can be known before they are read


@dataclass(frozen=True)
class RepeatedBlocks:
    """Sequences of one block of different random symbols, repeated to the end; its length is random in every row.

    Since the symbols of a block differ, the first repeated symbol shows that the second copy has begun, and every later
    one is certain: it is what followed its predecessor. `known` marks these tokens, from position period + 1 to 2
    period - 1; all accuracies are over these tokens, each with the same weight. A model that finds the last token's
    earlier position and copies the next token is always right. With min_period = max_period a model succeeds by
    counting positions alone: a shortcut that the random period rules out.

    Raises:
        ValueError: If a period is under 2, or there are too few symbols, or the sequence is too short.

    Source: the task of Olsson et al. 2022, "In-context Learning and Induction Heads".
    """

    n_symbols: int = 64
    length: int = 64
    min_period: int = 12
    max_period: int = 28

    def __post_init__(self) -> None:
        if not 2 <= self.min_period <= self.max_period:
            raise ValueError(f"periods run from 2 up, so {self.min_period} to {self.max_period} is impossible")
        if self.max_period > self.n_symbols:
            raise ValueError(f"a block of {self.max_period} different symbols cannot be made of {self.n_symbols}")
        if 2 * self.max_period > self.length:
            raise ValueError(f"two blocks of {self.max_period} do not fit into {self.length} places")

    @property
    def chance(self) -> float:
        """The accuracy of a blind guess: exactly 1 / n_symbols."""
        return 1 / self.n_symbols

    @property
    def unordered_ceiling(self) -> float:
        """The best accuracy of a model that knows which symbols came before and how often, but not their order.

        At the j-th known token period - j symbols have come once and the rest twice, so the best guess is right once
        in period - j times.
        """
        right = sum(Fraction(1, n) for period in self._periods for n in range(1, period))
        return float(right / self._n_known)

    @property
    def place_ceiling(self) -> float:
        """The best accuracy of copying from a distance chosen by the position alone: 1 if there is only one period.

        At each position one distance is chosen; it is right for one of the periods whose second copy is there.
        """
        places = {place for period in self._periods for place in range(period + 1, 2 * period)}
        return len(places) / self._n_known

    @property
    def _periods(self) -> range:
        return range(self.min_period, self.max_period + 1)

    @property
    def _n_known(self) -> int:
        return sum(period - 1 for period in self._periods)

    def sample(self, batch: int, generator: torch.Generator) -> InductionBatch:
        """Sample sequences; all periods from min_period to max_period are equally likely."""
        blocks = permutations(batch, self.n_symbols, generator)
        period = torch.randint(self.min_period, self.max_period + 1, (batch, 1), generator=generator)
        place = torch.arange(self.length)
        known = (place > period) & (place < 2 * period)
        return InductionBatch(blocks.gather(1, place % period), period[:, 0], known)
