"""Short made-up words with an exactly known reward, and comparisons by noisy readers."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.settings import check_counts, check_numbers

VOWELS, CONSONANTS = "aeio", "bdklmnrs"


@dataclass(frozen=True)
class MadeUpWords:
    """Words of `length` letters from a fixed model of letters, with their exact true ("gold") reward.

    The model writes a vowel with probability `p_vowel` at the start and after a consonant, and only with `p_double`
    after a vowel; every vowel and every consonant is equally likely. The gold reward is 1 for each vowel, and
    -`penalty` for each vowel that follows another: "banelido" is worth 4, "bdkalmns" 1, "aeioaeio" 8 - 7 penalty. So
    more vowels are better among the words that the model usually writes, and worse among those that it hardly ever
    writes.

    Raises:
        ValueError: If a probability is not between 0 and 1, the words have no letters, or the penalty is below 1.
    """

    length: int = 8
    p_vowel: float = 0.25
    p_double: float = 0.05
    penalty: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.p_vowel < 1 or not 0 < self.p_double < 1:
            raise ValueError(f"p_vowel={self.p_vowel} and p_double={self.p_double} must lie between 0 and 1")
        check_counts(self, "length")
        check_numbers(self, "penalty", least=1)  # below 1, every vowel would raise the reward

    @property
    def letters(self) -> str:
        """All letters; a token is an index into this string, and tokens below 4 are vowels."""
        return VOWELS + CONSONANTS

    @property
    def vocab_size(self) -> int:
        """The number of letters."""
        return len(self.letters)

    @property
    def best(self) -> float:
        """The highest possible gold reward: that of a vowel in every other place."""
        return float((self.length + 1) // 2)

    @functools.cached_property
    def start(self) -> Float[Tensor, " letter"]:
        """The probability of each first letter; the letter after a consonant has the same distribution."""
        return self._row(self.p_vowel)

    @functools.cached_property
    def next(self) -> Float[Tensor, "letter letter"]:
        """The transition matrix: row i has the probability of each letter after letter i."""
        return torch.stack([self._row(self.p_double)] * len(VOWELS) + [self.start] * len(CONSONANTS))

    def _row(self, p: float) -> Float[Tensor, " letter"]:
        return torch.tensor([p / len(VOWELS)] * len(VOWELS) + [(1 - p) / len(CONSONANTS)] * len(CONSONANTS))

    def sample(self, n: int, generator: torch.Generator) -> Int[Tensor, "n length"]:
        """Sample n words from the model of letters."""
        words = [torch.multinomial(self.start.expand(n, -1), 1, generator=generator)]
        for _ in range(self.length - 1):
            words.append(torch.multinomial(self.next[words[-1][:, 0]], 1, generator=generator))
        return torch.cat(words, dim=1)

    def gold_reward(self, words: Int[Tensor, "n letters"]) -> Float[Tensor, " n"]:
        """Compute the true reward of each word; words can have any length."""
        vowel = words < len(VOWELS)
        return vowel.sum(dim=1).float() - self.penalty * (vowel[:, 1:] & vowel[:, :-1]).sum(dim=1)

    def prefers(
        self, first: Int[Tensor, "n length"], second: Int[Tensor, "n length"], generator: torch.Generator
    ) -> Bool[Tensor, " n"]:
        """Sample whether a reader prefers the first word: with probability sigma(its gold reward - that of the second).

        Source: Bradley and Terry 1952.
        """
        probability = (self.gold_reward(first) - self.gold_reward(second)).sigmoid()
        return torch.rand(len(first), generator=generator) < probability

    def text(self, words: Int[Tensor, "n letters"]) -> list[str]:
        """Convert words to strings."""
        return ["".join(self.letters[i] for i in word) for word in words.tolist()]
