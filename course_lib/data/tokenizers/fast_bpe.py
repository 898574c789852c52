"""Fast byte-level BPE: `rustbpe` trains and `tiktoken` encodes, with the same ids as `tokenizers.bpe`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tiktoken
import tokenizers
import torch
from jaxtyping import Int
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from course_lib.data.tokenizers.bpe import BPE, merge_all, number_of_merges
from course_lib.data.tokenizers.pretokenization import PATTERN, require_text, split_at_special
from course_lib.errors import DataError
from course_lib.files import read_json, write_text

END = "<|endoftext|>"  # GPT-2's name for the token after the last of a document


class FastBPE:
    """A byte-level BPE that encodes with tiktoken; `bpe` is the same vocabulary in the readable implementation.

    Raises:
        ValueError: If the merges could not have been learnt in their order; engines encode such a vocabulary
            differently.
    """

    def __init__(self, bpe: BPE) -> None:
        self.bpe = bpe
        tokens = bpe.tokens[: 256 + len(bpe.merges)]
        # tiktoken joins two neighbours whenever their bytes are a token, whichever pair that was learnt from. It comes
        # to the same if every token encodes to itself, as it does after training.
        for i, token in enumerate(tokens):
            if bpe.encode_piece(token) != [i]:
                raise ValueError(f"token {i}, {token!r}, does not encode to itself: its merge comes too late or early")
        ranks = {token: i for i, token in enumerate(tokens)}
        self._engine = tiktoken.Encoding("course", pat_str=bpe.pattern, mergeable_ranks=ranks, special_tokens={})

    @property
    def vocab_size(self) -> int:
        """The number of tokens, special ones included."""
        return self.bpe.vocab_size

    def special_id(self, name: str) -> int:
        """Return the id of a special token.

        Raises:
            ValueError: If there is no such token; the message lists the names.
        """
        if name not in self.bpe.special_ids:
            there = ", ".join(self.bpe.special) or "none"
            raise ValueError(f"there is no special token {name!r}; there are: {there}")
        return self.bpe.special_ids[name]

    def encode(self, text: str | bytes, special: bool = False) -> Int[Tensor, " tokens"]:
        """Encode a text, or any bytes, as tokens; names of special tokens in it are plain text unless `special=True`.

        Raises:
            ValueError: If the text contains half a surrogate pair, which is not valid text.
        """
        ids: list[int] = []
        for part in split_at_special(text, self.bpe.special_ids if special else {}, self.bpe.alphabet):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._engine.encode_ordinary(part)
        return torch.from_numpy(np.array(ids, dtype=np.int64))  # in half the time that torch takes for a list

    def decode(self, ids: Int[Tensor, " tokens"] | Sequence[int]) -> str:
        """Decode tokens to text, with U+FFFD where their bytes are not valid text.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        return self.bpe.decode(ids)

    def decode_bytes(self, ids: Int[Tensor, " tokens"] | Sequence[int]) -> bytes:
        """Decode tokens to their exact bytes.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        return self.bpe.decode_bytes(ids)

    def save(self, folder: str | Path) -> None:
        """Save as tokenizer.json and tokenizer_config.json, which `tokenizers` and `transformers` can load."""
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        if END in self.bpe.special:
            config["eos_token"] = END
        write_text(Path(folder) / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
        write_text(Path(folder) / "tokenizer.json", to_hf(self.bpe).to_str() + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> FastBPE:
        """Load a tokenizer that `save` wrote.

        Raises:
            DataError: If the file is damaged or of another kind.
        """
        path = Path(folder) / "tokenizer.json"
        fields = read_json(path)
        try:
            return cls(from_hf(tokenizers.Tokenizer.from_str(json.dumps(fields))))
        except Exception as error:  # `tokenizers` raises nothing more special
            sentence = "is damaged, or no byte-level BPE with the settings that the course has"
            raise DataError(f"{path} {sentence} ({error}); save it again with FastBPE.save") from None


def train_fast_bpe(
    texts: Iterable[str], vocab_size: int, special: Sequence[str] = (END,), pattern: str = PATTERN
) -> FastBPE:
    """Learn a vocabulary with rustbpe; the merges are the same as those of `course_lib.data.tokenizers.bpe.train_bpe`.

    Training ends early if no piece has two tokens left.

    Raises:
        ValueError: If the texts are empty, or vocab_size has no room for 256 bytes and the special tokens.
    """
    import rustbpe  # not needed if there is a vocabulary already

    n_merges = number_of_merges(vocab_size, special)
    texts = map(require_text, [texts] if isinstance(texts, str) else texts)
    first = next((text for text in texts if text), None)
    if first is None:
        raise ValueError("there is nothing to learn merges from: the texts are empty")
    engine = rustbpe.Tokenizer()
    engine.train_from_iterator(itertools.chain([first], texts), 256 + n_merges, pattern=pattern)
    merged: dict[tuple[int, int], int] = {}
    for token, new in engine.get_mergeable_ranks()[256:]:
        # The engine gives only the bytes. Earlier merges reduce them to two parts: these are the pair.
        left, right = merge_all(list(token), merged)
        merged[left, right] = new
    return FastBPE(BPE(tuple(merged), tuple(special), pattern))


def to_hf(bpe: BPE) -> tokenizers.Tokenizer:
    """Convert to a tokenizer of `tokenizers`, which always recognises the names of special tokens in a text."""
    letters = byte_letters()
    names = ["".join(letters[byte] for byte in token) for token in bpe.tokens[: 256 + len(bpe.merges)]]
    vocab = {name: i for i, name in enumerate(names)}
    hf = tokenizers.Tokenizer(models.BPE(vocab, [(names[left], names[right]) for left, right in bpe.merges]))
    cut = pre_tokenizers.Split(tokenizers.Regex(bpe.pattern), "isolated")
    to_letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    hf.pre_tokenizer = pre_tokenizers.Sequence([cut, to_letters])
    hf.decoder = decoders.ByteLevel()
    hf.add_special_tokens([tokenizers.AddedToken(name, special=True) for name in bpe.special])
    return hf


def from_hf(hf: tokenizers.Tokenizer) -> BPE:
    """Convert a tokenizer of `tokenizers` to a `BPE`.

    Padding and truncation settings are ignored, and so is the template without special tokens that `transformers`
    writes.

    Raises:
        ValueError: If `to_hf` does not convert the result back to the same tokenizer.
    """
    fields = json.loads(hf.to_str()) | {"truncation": None, "padding": None}
    if fields["post_processor"] and fields["post_processor"].get("special_tokens") == {}:
        fields["post_processor"] = None
    bytes_of = {letter: byte for byte, letter in byte_letters().items()}
    vocab = fields["model"]["vocab"]
    merges = tuple((vocab[left], vocab[right]) for left, right in fields["model"]["merges"])
    special = tuple(token["content"] for token in fields["added_tokens"])
    pattern = fields["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    alphabet = bytes(bytes_of[name] for name in sorted(vocab, key=vocab.__getitem__)[:256])
    bpe = BPE(merges, special, pattern, alphabet)
    if json.loads(to_hf(bpe).to_str()) != fields:
        raise ValueError("something in it is not as the course writes it")
    return bpe


def byte_letters() -> dict[int, str]:
    """Return the printable character that represents each byte in a file (Radford et al. 2019, published code)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = sorted(set(range(256)) - set(shown))
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
