"""Sentences about people at work, in which the share of "he" is known for every occupation."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

T = TypeVar("T")
OCCUPATIONS = (
    "baker", "barber", "builder", "clerk", "doctor", "driver", "farmer", "guard",
    "lawyer", "nurse", "painter", "pilot", "singer", "tailor", "teacher", "waiter",
)  # fmt: skip
MALE = ("man", "father", "brother", "son", "uncle", "king")
FEMALE = ("woman", "mother", "sister", "daughter", "aunt", "queen")
THINGS = ("bag", "book", "coat", "lunch", "tools", "umbrella")
VERBS = ("come", "help", "leave", "rest", "sing", "wait", "work", "write")
STRONG = ("bold", "brave", "loud", "strong")
GENTLE = ("calm", "kind", "quiet", "soft")
HE, SHE = ("he", "his", "him"), ("she", "her", "her")  # says, has, is met
LONGEST = 8  # words, with the full stop


@dataclass(frozen=True)
class Occupations:
    """A world of short sentences about people, each named by an occupation or by a word of kin such as "father".

    Three forms in four have a pronoun, as "the baker took her coat home"; the fourth tells a trait, "the baker is very
    calm today". A word of kin always has the pronoun of its gender, and either kind of trait equally often.

    Args:
        he: For each of OCCUPATIONS, the probability that it is a "he".
        strong: For each of OCCUPATIONS, the probability that its trait is one of STRONG; otherwise it is of GENTLE.

    Raises:
        ValueError: If a list has not one probability for each occupation.
    """

    he: Sequence[float]
    strong: Sequence[float]

    def __post_init__(self) -> None:
        for shares in (self.he, self.strong):
            if len(shares) != len(OCCUPATIONS) or not all(0 <= share <= 1 for share in shares):
                raise ValueError(f"give a probability from 0 to 1 for each of the {len(OCCUPATIONS)} occupations")

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word of the sentences, the full stop first."""
        forms = ["the", "said", "that", "would", "took", "home", "they", "met", "and", "thanked", "is", "very", "today"]
        people = (*OCCUPATIONS, *MALE, *FEMALE)
        return (".", *forms, *sorted({*HE, *SHE}), *people, *THINGS, *VERBS, *STRONG, *GENTLE)

    def sample(self, n: int, generator: torch.Generator) -> list[list[str]]:
        """Draw sentences, each a list of words that ends in a full stop; a third of them are about kin."""
        luck = torch.rand(n, 5, generator=generator, dtype=torch.float64).tolist()
        return [self._sentence(*row) for row in luck]

    def _sentence(self, who: float, form: float, gender: float, kind: float, word: float) -> list[str]:
        if who < 1 / 3:
            male, person = gender < 0.5, _pick(MALE if gender < 0.5 else FEMALE, 3 * who)
            strong = kind < 0.5
        else:
            number = int((who - 1 / 3) * 1.5 * len(OCCUPATIONS))
            male, person = gender < self.he[number], OCCUPATIONS[number]
            strong = kind < self.strong[number]
        says, has, met = HE if male else SHE
        forms = (
            ["the", person, "said", "that", says, "would", _pick(VERBS, word)],
            ["the", person, "took", has, _pick(THINGS, word), "home"],
            ["they", "met", "the", person, "and", "thanked", met],
            ["the", person, "is", "very", _pick(STRONG if strong else GENTLE, word), "today"],
        )
        return [*_pick(forms, form), "."]

    def encode(self, sentences: Iterable[Sequence[str]]) -> Int[Tensor, "sentence word"]:
        """Return the sentences as numbers of words, each filled up with full stops.

        Raises:
            KeyError: If a word is not of this world.
        """
        rows = [[self._number[word] for word in words] for words in sentences]
        return torch.tensor([row + [0] * (LONGEST - len(row)) for row in rows])

    def numbers(self, words: Iterable[str]) -> Int[Tensor, " word"]:
        """Return the numbers of words, their places in the vocabulary.

        Raises:
            KeyError: If a word is not of this world.
        """
        return torch.tensor([self._number[word] for word in words])

    def log_odds(
        self, sentences: Iterable[Sequence[str]], start: str, these: Sequence[str], those: Sequence[str]
    ) -> Float[Tensor, " occupation"]:
        """Count how often each occupation goes on with one of some words rather than others, as the log of the odds.

        Half a sentence is added to both counts, so that none is 0.

        Args:
            sentences: The sentences to count in.
            start: How they start, with `{}` for the occupation: "the {} said that".
            these: The words in the numerator of the odds.
            those: The words in the denominator.
        """
        place = len(start.split())
        seen = Counter((tuple(words[:place]), words[place]) for words in sentences if len(words) > place)
        starts = [tuple(start.format(occupation).split()) for occupation in OCCUPATIONS]
        these_n, those_n = (
            torch.tensor([0.5 + sum(seen[s, word] for word in side) for s in starts]) for side in (these, those)
        )
        return (these_n / those_n).log()

    @functools.cached_property
    def _number(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.vocabulary)}


def _pick(among: Sequence[T], luck: float) -> T:
    return among[int(luck * len(among))]
