"""A tokenizer with one token per character."""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.tokenizers.bpe import checked_ids

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class CharTokenizer:
    """A tokenizer with one token per character: its index in `characters`.

    Raises:
        ValueError: If the characters are not sorted and distinct.
    """

    characters: str

    def __post_init__(self) -> None:
        if any(a >= b for a, b in itertools.pairwise(self.characters)):
            raise ValueError("the characters must be sorted, each once; CharTokenizer.from_text(text) sees to it")

    @classmethod
    def from_text(cls, text: str, min_count: int = 1) -> CharTokenizer:
        """Create a tokenizer of the characters that occur at least `min_count` times; rarer ones become U+FFFD."""
        counts = collections.Counter(text)
        kept = {character for character, n in counts.items() if n >= min_count}
        return cls("".join(sorted(kept if len(kept) == len(counts) else kept | {UNKNOWN})))

    @property
    def vocab_size(self) -> int:
        """The number of different tokens."""
        return len(self.characters)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.characters)}

    def encode(self, text: str) -> Int[Tensor, " tokens"]:
        """Encode a text as tokens; unknown characters become U+FFFD if that has a token.

        Raises:
            ValueError: If a character is unknown and U+FFFD has no token.
        """
        unknown = self._ids.get(UNKNOWN)
        ids = [self._ids.get(character, unknown) for character in text]
        if None in ids:
            raise ValueError(f"the tokenizer has never seen the character {text[ids.index(None)]!r}")
        return torch.tensor(ids, dtype=torch.int64)

    def decode(self, tokens: Int[Tensor, " tokens"] | Sequence[int]) -> str:
        """Decode tokens to text.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        ids = torch.as_tensor(tokens).tolist()
        return "".join(self.characters[i] for i in checked_ids(ids, self.vocab_size))
