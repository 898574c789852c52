"""The mirror language: strings followed by their reverse, with one gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.worlds.sampling import pick
from course_lib.settings import check_counts


class MirrorBatch(NamedTuple):
    """A batch of strings with one gap each."""

    tokens: Int[Tensor, "batch position"]  # the whole string, nothing missing
    gapped: Int[Tensor, "batch position"]  # the same with the blank token at the gap
    gap: Int[Tensor, " batch"]  # the position of the gap
    target: Int[Tensor, " batch"]  # the token at the gap


@dataclass(frozen=True)
class MirrorLanguage:
    """Random strings followed by their reverse; one token is blanked out and is to be predicted at its own position.

    The only clue to a gap in the first half is on the right, so a causal model must guess, while a bidirectional one
    can always be right. With `second_half_only` every clue is on the left: the control in which the two kinds of model
    must not differ.

    Raises:
        ValueError: If there are no symbols, or no positions.
    """

    n_symbols: int = 16
    half: int = 8
    second_half_only: bool = False

    def __post_init__(self) -> None:
        check_counts(self, "n_symbols", "half")

    @property
    def length(self) -> int:
        """The number of positions."""
        return 2 * self.half

    @property
    def blank(self) -> int:
        """The token in the gap."""
        return self.n_symbols

    @property
    def vocab_size(self) -> int:
        """The number of tokens: the symbols, then the blank."""
        return self.n_symbols + 1

    @property
    def chance(self) -> float:
        """The accuracy without seeing the string: exactly 1 / n_symbols."""
        return 1 / self.n_symbols

    @property
    def causal_ceiling(self) -> float:
        """The best accuracy of a causal model, which sees only what is left of the gap.

        It is 1/2 + 1/(2 n_symbols), and 1 in the control. A model that sees both sides can always be right.
        """
        return 1.0 if self.second_half_only else (1 + 1 / self.n_symbols) / 2

    def sample(self, batch: int, generator: torch.Generator) -> MirrorBatch:
        """Sample strings, with the gap anywhere (or anywhere in the second half)."""
        half = torch.randint(self.n_symbols, (batch, self.half), generator=generator)
        tokens = torch.cat([half, half.flip(1)], dim=1)
        first = self.half if self.second_half_only else 0
        return self.with_gaps(tokens, torch.randint(first, self.length, (batch,), generator=generator))

    def with_gaps(self, tokens: Int[Tensor, "batch position"], gap: Int[Tensor, " batch"]) -> MirrorBatch:
        """Put gaps at given positions into given strings, for example to test every position equally often."""
        return MirrorBatch(tokens, tokens.scatter(1, gap[:, None], self.blank), gap, pick(tokens, gap))
