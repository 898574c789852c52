"""Byte-level BPE, short enough to read in ten minutes: training, encoding, decoding.

`course_lib.data.tokenizers.fast_bpe` learns the same merges and gives the same ids, many times faster.

Source: Sennrich et al. 2016, section 3.2 (algorithm 1), on the bytes of a text as in Radford et al. 2019, section 2.2.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Int
from torch import Tensor

from course_lib.data.tokenizers.pretokenization import PATTERN, pretokenize, split_at_special


@dataclass(frozen=True)
class BPE:
    """A BPE vocabulary: 256 bytes, then one token for each merge of two earlier tokens, then the special tokens.

    Args:
        merges: The pair of earlier tokens that each merged token consists of.
        special: The names of the special tokens.
        pattern: The regular expression, in the syntax of `tokenizers`, that cuts a text into pieces before anything is
            merged.
        alphabet: The bytes of the first 256 tokens, in order.

    Raises:
        ValueError: If the merges do not form a vocabulary.
    """

    merges: tuple[tuple[int, int], ...]
    special: tuple[str, ...] = ()
    pattern: str = PATTERN
    alphabet: bytes = bytes(range(256))

    def __post_init__(self) -> None:
        if sorted(self.alphabet) != list(range(256)):
            raise ValueError("the alphabet must hold each of the 256 bytes once")
        for new, pair in enumerate(self.merges, 256):
            if not 0 <= min(pair) <= max(pair) < new:
                raise ValueError(f"token {new} would be the merge of {pair}, which are not both earlier tokens")
        if "" in self.special or len(set(self.tokens)) < self.vocab_size:
            raise ValueError("no token may be there twice, and no special token may be empty")

    @functools.cached_property
    def tokens(self) -> list[bytes]:
        """The bytes of every token."""
        tokens = [bytes([byte]) for byte in self.alphabet]
        for left, right in self.merges:
            tokens.append(tokens[left] + tokens[right])
        return tokens + [name.encode() for name in self.special]

    @functools.cached_property
    def merged(self) -> dict[tuple[int, int], int]:
        """The token that each pair is merged into; the lower it is, the earlier it was learnt."""
        return {pair: new for new, pair in enumerate(self.merges, 256)}

    @functools.cached_property
    def special_ids(self) -> dict[str, int]:
        """The ids of the special tokens, by their names."""
        return {name: i for i, name in enumerate(self.special, 256 + len(self.merges))}

    @property
    def vocab_size(self) -> int:
        """The number of tokens, special ones included."""
        return 256 + len(self.merges) + len(self.special)

    def encode(self, text: str | bytes, special: bool = False) -> list[int]:
        """Encode a text, or any bytes, as tokens.

        Names of special tokens in the text are recognised only with `special=True`.

        Raises:
            ValueError: If the text contains half a surrogate pair, which is not valid text.
        """
        ids: list[int] = []
        encode_piece = functools.cache(self.encode_piece)  # the same words occur again and again
        for part in split_at_special(text, self.special_ids if special else {}, self.alphabet):
            if isinstance(part, int):
                ids.append(part)
                continue
            for piece in pretokenize(part, self.pattern):
                ids += encode_piece(piece.encode())
        return ids

    def encode_piece(self, piece: bytes) -> list[int]:
        """Encode one piece."""
        return merge_all([self.alphabet.index(byte) for byte in piece], self.merged)

    def decode_bytes(self, ids: Int[Tensor, " tokens"] | Sequence[int]) -> bytes:
        """Decode tokens to their exact bytes.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        ids = ids.tolist() if isinstance(ids, Tensor) else ids
        return b"".join(self.tokens[i] for i in checked_ids(ids, self.vocab_size))

    def decode(self, ids: Int[Tensor, " tokens"] | Sequence[int]) -> str:
        """Decode tokens to text, with U+FFFD where their bytes are not valid text, as for half a character."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")


def train_bpe(texts: Iterable[str], vocab_size: int, special: Sequence[str] = (), pattern: str = PATTERN) -> BPE:
    """Learn the merges of a BPE: repeatedly make the most frequent pair of neighbours a token.

    Among equally frequent pairs, the one with the lower left id comes first, then the one with the lower right id.
    Training ends early if no piece has two tokens left.

    Raises:
        ValueError: If the texts are empty, or vocab_size has no room for 256 bytes and the special tokens.
    """
    n_merges = number_of_merges(vocab_size, special)
    texts = [texts] if isinstance(texts, str) else texts
    counts = Counter(piece for text in texts for piece in pretokenize(text, pattern))
    if not counts:
        raise ValueError("there is nothing to learn merges from: the texts are empty")
    words = [list(piece.encode()) for piece in counts]
    times = list(counts.values())

    frequency: Counter[tuple[int, int]] = Counter()
    places = defaultdict(set)  # the words in which a pair occurs
    for i, word in enumerate(words):
        for pair in pairwise(word):
            frequency[pair] += times[i]
            places[pair].add(i)
    heap = [(-n, pair) for pair, n in frequency.items()]
    heapq.heapify(heap)

    merges: list[tuple[int, int]] = []
    while heap and len(merges) < n_merges:
        n, pair = heapq.heappop(heap)
        if -n != frequency[pair]:  # other merges took some of its places since; the number of a pair never grows
            if frequency[pair]:
                heapq.heappush(heap, (-frequency[pair], pair))
            continue
        new = 256 + len(merges)
        merges.append(pair)
        created = set()
        for i in places.pop(pair):
            for old in pairwise(words[i]):
                frequency[old] -= times[i]
            words[i] = merge(words[i], pair, new)
            for now in pairwise(words[i]):
                frequency[now] += times[i]
                if new in now:
                    places[now].add(i)
                    created.add(now)
        for now in created:
            heapq.heappush(heap, (-frequency[now], now))
    return BPE(tuple(merges), tuple(special), pattern)


def merge_all(ids: list[int], merged: Mapping[tuple[int, int], int]) -> list[int]:
    """Merge the pair of neighbours that was learnt first, repeatedly, until no pair is a token."""
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda pair: merged.get(pair, math.inf))
        if pair not in merged:
            break
        ids = merge(ids, pair, merged[pair])
    return ids


def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Replace every `pair` of neighbours in the list by `new`, from left to right."""
    merged: list[int] = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def checked_ids(ids: Sequence[int], vocab_size: int) -> Sequence[int]:
    """Return the ids unchanged, after checking that all are in a vocabulary of this size.

    Raises:
        ValueError: If one is not.
    """
    strange = next((i for i in ids if not 0 <= i < vocab_size), None)
    if strange is not None:
        size = f"the vocabulary, which has {vocab_size} tokens"
        raise ValueError(f"token {strange} is not in {size}; was it made by another tokenizer?")
    return ids


def number_of_merges(vocab_size: int, special: Sequence[str]) -> int:
    """Return the number of merges of a vocabulary of this size.

    Raises:
        ValueError: If it has no room for the 256 bytes and the special tokens.
    """
    least = 256 + len(special)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size={vocab_size} is too small: 256 bytes and {len(special)} special tokens need {least}"
        )
    return vocab_size - least
