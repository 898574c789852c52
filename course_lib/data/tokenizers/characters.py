"""One token a character."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.tokenizers.bpe import checked_ids

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class CharTokenizer:
    """One token a character; the token of a character is its place in `characters`.

    Raises ValueError for characters that are not sorted, each once.
    """

    characters: str

    def __post_init__(self) -> None:
        if any(a >= b for a, b in itertools.pairwise(self.characters)):
            raise ValueError("the characters must be sorted, each once; CharTokenizer.from_text(text) sees to it")

    @classmethod
    def from_text(cls, text: str, min_count: int = 1) -> CharTokenizer:
        """The characters of a text that occur at least `min_count` times; rarer ones share the token of U+FFFD."""
        counts = collections.Counter(text)
        kept = {character for character, n in counts.items() if n >= min_count}
        return cls("".join(sorted(kept if len(kept) == len(counts) else kept | {UNKNOWN})))

    @property
    def vocab_size(self) -> int:
        """The number of different tokens."""
        return len(self.characters)

    def encode(self, text: str) -> Int[Tensor, " tokens"]:
        """The tokens of a text. Raises ValueError for a character that is not known, unless U+FFFD is."""
        known = np.append(_codes(self.characters), np.uint32(0xFFFFFFFF))  # behind the last one, what no character is
        codes = _codes(text)
        places = np.searchsorted(known, codes)
        strange = known[places] != codes
        if strange.any():
            if UNKNOWN not in self.characters:
                raise ValueError(f"the tokenizer has never seen the character {chr(codes[strange.argmax()])!r}")
            places[strange] = self.characters.index(UNKNOWN)
        return torch.from_numpy(places.astype(np.int64))

    def decode(self, tokens: Int[Tensor, " tokens"] | Sequence[int]) -> str:
        """The text of some tokens. Raises ValueError for an id that is not in the vocabulary."""
        ids = torch.as_tensor(tokens).tolist()
        return "".join(self.characters[i] for i in checked_ids(ids, self.vocab_size))


def _codes(text: str) -> np.ndarray:
    """The code point of every character, in one step rather than one Python call a character."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
