"""The exact bytes of each token of a tokenizer, needed for streaming and constrained decoding."""

from __future__ import annotations

import json
import re

import tokenizers

from course_lib.data.tokenizers.bpe import BPE
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.data.tokenizers.fast_bpe import FastBPE, byte_letters

_SPACE = "\u2581"  # SentencePiece's sign for a space


def token_bytes(
    tokenizer: tokenizers.Tokenizer | FastBPE | BPE | CharTokenizer, vocab_size: int | None = None
) -> list[bytes]:
    """Return the bytes of every token, in the order of their ids; special tokens are not text and have none.

    Joined, the bytes of a text's tokens are the text in UTF-8, even if a token ends inside a character. With
    SentencePiece the space that it puts before a text is kept.

    Args:
        tokenizer: A byte-level BPE (as GPT-2's), a SentencePiece (as Llama 2's), or one of characters.
        vocab_size: The vocabulary size of the model, which may be larger than the tokenizer's; the additional tokens
            have no bytes.

    Raises:
        ValueError: If vocab_size is too small, or the tokenizer is of another kind.
    """
    if isinstance(tokenizer, CharTokenizer):
        tokens = [character.encode("utf-8", errors="ignore") for character in tokenizer.characters]
    elif isinstance(tokenizer, tokenizers.Tokenizer):
        tokens = _token_bytes_of_hf(tokenizer)
    else:
        bpe = tokenizer.bpe if isinstance(tokenizer, FastBPE) else tokenizer
        tokens = bpe.tokens[: 256 + len(bpe.merges)] + [b""] * len(bpe.special)
    if vocab_size is not None and vocab_size < len(tokens):
        raise ValueError(f"vocab_size={vocab_size} is too small: the tokenizer has {len(tokens)} tokens")
    return tokens + [b""] * ((vocab_size or 0) - len(tokens))


def _token_bytes_of_hf(tokenizer: tokenizers.Tokenizer) -> list[bytes]:
    decoder = json.loads(tokenizer.decoder.__getstate__()) if tokenizer.decoder else {"type": "none"}
    kinds = {part["type"] for part in decoder.get("decoders", [decoder])}
    if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
        raise ValueError(
            f"a tokenizer with the decoder {', '.join(sorted(kinds))} is not supported, since its tokens are no "
            "sequences of bytes; supported are byte-level BPE and SentencePiece"
        )
    byte_of = {letter: byte for byte, letter in byte_letters().items()}
    added = tokenizer.get_added_tokens_decoder()
    vocab = tokenizer.get_vocab()
    tokens = [b""] * (max(vocab.values(), default=-1) + 1)  # ids need not be without gaps
    for name, i in vocab.items():
        if i in added:
            tokens[i] = b"" if added[i].special else name.encode()
        elif "ByteLevel" in kinds:
            tokens[i] = bytes(byte_of[letter] for letter in name) if byte_of.keys() >= set(name) else name.encode()
        elif "ByteFallback" in kinds and (byte := re.fullmatch("<0x([0-9A-F]{2})>", name)):
            tokens[i] = bytes.fromhex(byte[1])
        else:
            tokens[i] = name.replace(_SPACE, " ").encode()
    return tokens
