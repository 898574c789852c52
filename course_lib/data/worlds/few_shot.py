"""Symbols with labels in context: a model can remember the label or read it off the examples."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.data.worlds.sampling import distinct, interleave, permutations
from course_lib.settings import check_counts, check_numbers


class FewShotBatch(NamedTuple):
    """A batch of rows of labelled examples with a query."""

    symbols: Int[Tensor, "batch example"]
    labels: Int[Tensor, "batch example"]
    query: Int[Tensor, " batch"]
    target: Int[Tensor, " batch"]  # the query's label
    fresh: Bool[Tensor, " batch"]  # whether the row has fresh labels; never shown


@dataclass(frozen=True)
class FewShotLabels:
    """Few-shot classification: examples `s1 l1 s2 l2 ...` and a symbol whose label is asked.

    A row has either fresh labels, drawn for this row alone, or the lasting label of every symbol. Fresh labels can only
    be read off the row; lasting ones can be stored in a model's weights. Symbols from n_symbols on are held out:
    `sample` draws them only when asked, and their labels are always fresh. (A model that learns one embedding per
    symbol has none for these; give the symbols fixed random vectors.)

    Args:
        shots: The number of examples with the query's symbol; a row with any is called bursty. The other examples have
            different symbols, each once.
        p_fresh: The probability of a row with fresh labels.
        seed: The seed of the lasting labels.

    Raises:
        ValueError: If there are more examples than symbols, or more shots than examples.

    Source: Chan et al. 2022, "Data Distributional Properties Drive Emergent In-Context Learning in Transformers".
    """

    n_symbols: int = 64
    n_held_out: int = 16
    n_labels: int = 8
    n_examples: int = 8
    shots: int = 1
    p_fresh: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.shots <= self.n_examples:
            raise ValueError(f"{self.shots} of {self.n_examples} examples cannot hold the asked symbol")
        fewest = min(self.n_symbols, self.n_held_out or self.n_symbols)
        if self.n_examples - self.shots + 1 > fewest:
            raise ValueError(
                f"{self.n_examples - self.shots} other examples and a query need more than {fewest} symbols"
            )
        check_counts(self, "n_labels")
        check_numbers(self, "p_fresh", least=0, most=1)

    @property
    def vocab_size(self) -> int:
        """The number of tokens in `tokens`: symbols first, held-out ones included, then labels."""
        return self.n_symbols + self.n_held_out + self.n_labels

    @functools.cached_property
    def lasting(self) -> Int[Tensor, " n_symbols"]:
        """The label of every symbol in rows that are not fresh; labels are equally frequent to within one symbol."""
        generator = torch.Generator().manual_seed(self.seed)
        return permutations(1, self.n_symbols, generator)[0] % self.n_labels

    @property
    def chance(self) -> float:
        """The accuracy on fresh rows without the examples: exactly 1 / n_labels."""
        return 1 / self.n_labels

    @property
    def weights_ceiling(self) -> float:
        """The best accuracy of a model that knows the lasting labels and ignores the examples."""
        return 1 - self.p_fresh + self.p_fresh / self.n_labels

    @property
    def ceiling(self) -> float:
        """The best possible accuracy: 1 if the query's symbol is among the examples, otherwise `weights_ceiling`.

        Without that symbol the examples tell whether the row is fresh, but the lasting label is never a worse guess
        than others.
        """
        return 1.0 if self.shots else self.weights_ceiling

    def sample(self, batch: int, generator: torch.Generator, held_out: bool = False) -> FewShotBatch:
        """Sample rows, of held-out symbols only if asked.

        Raises:
            ValueError: If held-out symbols are asked for and there are none.
        """
        first, n = (self.n_symbols, self.n_held_out) if held_out else (0, self.n_symbols)
        if not n:
            raise ValueError("this world holds no symbols out: give it n_held_out")
        drawn = distinct(batch, n, self.n_examples - self.shots + 1, generator)
        fresh = torch.rand(batch, generator=generator) < (1 if held_out else self.p_fresh)
        labels = torch.randint(self.n_labels, drawn.shape, generator=generator)
        if not held_out:
            labels = torch.where(fresh[:, None], labels, self.lasting[drawn])
        # The first symbol is the query: it takes `shots` of the places, in random order among the others.
        place = (permutations(batch, self.n_examples, generator) - self.shots + 1).clamp(min=0)
        return FewShotBatch(
            symbols=drawn.gather(1, place) + first,
            labels=labels.gather(1, place),
            query=drawn[:, 0] + first,
            target=labels[:, 0],
            fresh=fresh,
        )

    def tokens(self, batch: FewShotBatch) -> Int[Tensor, "batch position"]:
        """Encode rows as sequences `s1 l1 s2 l2 ... query`; label l is the token n_symbols + n_held_out + l."""
        labels = batch.labels + self.n_symbols + self.n_held_out
        return torch.cat([interleave(batch.symbols, labels), batch.query[:, None]], dim=1)
