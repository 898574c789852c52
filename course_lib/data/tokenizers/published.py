"""Text to numbers and back: characters, GPT-2's byte-level BPE and SmolLM2's, MiniLM's WordPiece."""

from __future__ import annotations

import collections
import functools
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from course_lib.data.packages.fetch import fetch
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


@functools.cache
def gpt2() -> Tokenizer:
    """GPT-2's tokenizer of 50,257 tokens: "Hello world" is [15496, 995]. Source: Radford et al. 2019, section 2.2."""
    folder = fetch("gpt2-vocabulary")
    vocab = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]  # the first names the version
    tokenizer = _byte_level_bpe(vocab, (line.split() for line in lines if line))
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return tokenizer


@functools.cache
def smollm2() -> Tokenizer:
    """SmolLM2's tokenizer: 49,152 tokens, each digit its own; `<|im_start|>` and `<|im_end|>` bound a chat turn.

    It has no token for 21 of the 256 bytes (some control characters, unassigned parts of Unicode) and drops those.
    """
    from course_lib.data.packages.weights import smollm2_fields

    return from_gguf(smollm2_fields())


def minilm() -> Tokenizer:
    """MiniLM's and BERT's (uncased) WordPiece tokenizer of 30,522 tokens; a text is put between `[CLS]` and `[SEP]`.

    A text keeps its length: the file's own setting, which cuts and pads all texts to 128 tokens, is taken out. Every
    call returns a new tokenizer, so `enable_padding()` and `enable_truncation(256)` on it concern no one else.
    Source: Devlin et al. 2018, section 3; Wu et al. 2016, section 4.1.
    """
    tokenizer = Tokenizer.from_file(str(fetch("minilm-l6-v2") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def from_gguf(fields: dict[str, Any]) -> Tokenizer:
    """The byte-level BPE tokenizer that a GGUF file's metadata describes, with single digits as `smollm` has them."""
    kind = (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"])
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"GGUF tokenizer {kind} is not supported; only ('gpt2', 'smollm') is")
    tokens = fields["tokenizer.ggml.tokens"]
    tokenizer = _byte_level_bpe(
        {token: i for i, token in enumerate(tokens)},
        (merge.split(" ", 1) for merge in fields["tokenizer.ggml.merges"]),
        pre_tokenizers.Digits(individual_digits=True),
    )
    control = 3  # the token type of llama.cpp for marks that are never text
    special = [t for t, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _byte_level_bpe(vocab: dict[str, int], merges: Iterable[Sequence[str]], *first: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[(left, right) for left, right in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*first, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
