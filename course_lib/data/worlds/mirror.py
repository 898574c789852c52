"""The mirror language: a string and its reverse, with one gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.worlds.sampling import pick
from course_lib.settings import check_counts


class MirrorBatch(NamedTuple):
    """Strings with one gap each."""

    tokens: Int[Tensor, "batch position"]  # the whole string, nothing missing
    gapped: Int[Tensor, "batch position"]  # the same with the blank token at the gap
    gap: Int[Tensor, " batch"]  # the place of the gap
    target: Int[Tensor, " batch"]  # what stands there


@dataclass(frozen=True)
class MirrorLanguage:
    """A random string, then its reverse; one token is blanked out and is to be predicted at its own place.

    A gap in the first half has its only clue to the right, so a model that reads from left to right must guess, while
    one that reads both ways can always be right. With `second_half_only` every clue lies to the left: the control in
    which the two kinds of model must not differ.

    Raises:
        ValueError: There are no symbols, or no places.
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
        """The token that stands in the gap."""
        return self.n_symbols

    @property
    def vocab_size(self) -> int:
        """The number of tokens: the symbols, then the blank."""
        return self.n_symbols + 1

    @property
    def chance(self) -> float:
        """The accuracy of whoever sees nothing of the string: exactly 1 / n_symbols."""
        return 1 / self.n_symbols

    @property
    def causal_ceiling(self) -> float:
        """The best accuracy of whoever sees only what is left of the gap: 1/2 + 1/(2 n_symbols); 1 in the control.

        Whoever sees both sides can always be right.
        """
        return 1.0 if self.second_half_only else (1 + 1 / self.n_symbols) / 2

    def sample(self, batch: int, generator: torch.Generator) -> MirrorBatch:
        """Draw strings, with the gap anywhere (or anywhere in the second half)."""
        half = torch.randint(self.n_symbols, (batch, self.half), generator=generator)
        tokens = torch.cat([half, half.flip(1)], dim=1)
        first = self.half if self.second_half_only else 0
        return self.with_gaps(tokens, torch.randint(first, self.length, (batch,), generator=generator))

    def with_gaps(self, tokens: Int[Tensor, "batch position"], gap: Int[Tensor, " batch"]) -> MirrorBatch:
        """These strings with these gaps: to ask at every place equally often, say."""
        return MirrorBatch(tokens, tokens.scatter(1, gap[:, None], self.blank), gap, pick(tokens, gap))
