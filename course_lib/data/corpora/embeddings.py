"""Word vectors: GloVe, and the word lists with which bias in such vectors is measured."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.packages.array_cache import cached_arrays
from course_lib.data.packages.fetching import fetch
from course_lib.data.packages.registry import entry
from course_lib.errors import DataError
from course_lib.files import read_json

# The ten tests of Caliskan et al. 2017, table 1: two lists of targets, two of attributes. The published finding is
# that the first targets are nearer to the first attributes, as in people (flowers to what is pleasant).
WEAT_TESTS = (
    ("flowers", "insects", "pleasant_5", "unpleasant_5a"),
    ("instruments", "weapons", "pleasant_5", "unpleasant_5a"),
    ("european_american_names_5", "african_american_names_5", "pleasant_5", "unpleasant_5b"),
    ("european_american_names_7", "african_american_names_7", "pleasant_5", "unpleasant_5b"),
    ("european_american_names_7", "african_american_names_7", "pleasant_9", "unpleasant_9"),
    ("male_names", "female_names", "career", "family"),
    ("math", "arts", "male_terms", "female_terms"),
    ("science", "arts_2", "male_terms_2", "female_terms_2"),
    ("mental_disease", "physical_disease", "temporary", "permanent"),
    ("young_people_names", "old_people_names", "pleasant_9", "unpleasant_9"),
)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A vector for every word, as rows in the order of the words.

    `word in embeddings` says whether a word has a vector.
    """

    words: tuple[str, ...]
    vectors: Float[Tensor, "words width"]

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @functools.cached_property
    def _unit(self) -> Float[Tensor, "words width"]:
        return torch.nn.functional.normalize(self.vectors, dim=1)

    def __contains__(self, word: str) -> bool:
        return word in self._rows

    def __getitem__(self, word: str) -> Float[Tensor, " width"]:
        """Return the vector of a word.

        Raises:
            ValueError: If the word has no vector; the message suggests words with a similar spelling.
        """
        return self.vectors[self._row(word)]

    def lookup(self, words: Iterable[str]) -> Float[Tensor, "looked_up width"]:
        """Return the vectors of words, one row each.

        Raises:
            ValueError: If a word has no vector, or there are no words.
        """
        rows = [self._row(word) for word in words]
        if not rows:
            raise ValueError("there are no words to look up")
        return self.vectors[rows]

    def cosine(self, first: str, second: str) -> float:
        """Return the cosine of the angle between the vectors of two words, from -1 to 1.

        Raises:
            ValueError: If a word has no vector.
        """
        return float(self._unit[self._row(first)] @ self._unit[self._row(second)])

    def nearest(
        self, to: str | Float[Tensor, " width"], n: int = 10, leave_out: Iterable[str] = ()
    ) -> list[tuple[str, float]]:
        """Return the words with the highest cosine to a word or a vector, and these cosines, highest first.

        Args:
            to: A word or a vector; a word is not among its own nearest.
            n: The number of words.
            leave_out: Words to leave out: an analogy such as king - man + woman (Mikolov et al. 2013) leaves out its
                own three words.

        Raises:
            ValueError: If a word has no vector.
        """
        out = {to, *leave_out} if isinstance(to, str) else set(leave_out)
        vector = self[to] if isinstance(to, str) else to
        cosines = self._unit @ torch.nn.functional.normalize(vector, dim=0)
        cosines[[self._row(word) for word in out]] = -torch.inf
        values, rows = cosines.topk(min(n, len(self.words) - len(out)))
        return [(self.words[row], value) for row, value in zip(rows.tolist(), values.tolist(), strict=True)]

    def _row(self, word: str) -> int:
        try:
            return self._rows[word]
        except KeyError:
            # Only among the more frequent words of similar length with the same first letter, so that it is quick.
            like = word.lower()
            known = [w for w in self.words[:100_000] if w[:1] == like[:1] and abs(len(w) - len(like)) < 3]
            close = difflib.get_close_matches(like, known, n=3)
            hint = f"; spelled like it are: {', '.join(close)}" if close else ""
            raise ValueError(f"there is no vector for the word {word!r}{hint}") from None


def glove() -> Embeddings:
    """Load the GloVe vectors of 400,000 lower-case English words, frequent ones first: 50 float32 numbers each, 80 MB.

    They were learnt from 6 billion words of Wikipedia (2014) and of newspapers (Gigaword 5). Licence PDDL 1.0. The
    first call needs pyarrow to read the list of words, which is then kept in the cache.

    Raises:
        DataError: If the vectors cannot be fetched, or pyarrow is missing.

    Source: Pennington et al. 2014, "GloVe".
    """

    def build() -> dict[str, np.ndarray]:
        try:
            from pyarrow import parquet
        except ImportError:
            raise DataError(
                "GloVe's list of words is a Parquet file; to read it, once, run `python -m pip install pyarrow`"
            ) from None
        words = parquet.read_table(fetch("glove-6b-50d") / "glove_6B_index.parquet")["index"].to_pylist()
        return {"words": np.frombuffer("\n".join(words).encode(), np.uint8)}

    made_from = ["one word a line, in UTF-8", entry("glove-6b-50d").sha256]
    words = cached_arrays("glove-words", made_from, build)["words"].tobytes().decode().split("\n")
    vectors = np.load(fetch("glove-6b-50d") / "glove_6B_50d_emb.npy", allow_pickle=False)
    return Embeddings(tuple(words), torch.from_numpy(vectors))


def weat_words() -> dict[str, tuple[str, ...]]:
    """Return the 31 word lists of the Word Embedding Association Test by name, in lower case as in GloVe.

    WEAT_TESTS says which four lists make up a test.

    Raises:
        DataError: If they cannot be fetched.

    Source: Caliskan et al. 2017, "Semantics derived automatically from language corpora contain human-like biases".
    """
    lists = read_json(fetch("weat-words") / "WEAT.json")
    return {name: tuple(word.lower() for word in words) for name, words in lists.items()}
