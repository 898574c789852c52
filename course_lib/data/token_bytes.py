"""The bytes that each token of a tokenizer stands for, exactly: what streaming and constrained decoding work with."""

from __future__ import annotations

import json
import re

from tokenizers import Tokenizer

from course_lib.data.fast_bpe import _letters

_SPACE = "\u2581"  # SentencePiece's sign for a space


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token, in the order of their ids; special tokens are marks, not text, and have none.

    Joined, those of a text's tokens are the text in UTF-8, also where a token ends inside a character. A SentencePiece
    keeps the space that it puts before a text. Raises ValueError for tokenizers that are neither byte-level BPE, as
    GPT-2's, nor SentencePiece with or without bytes, as Llama 2's.
    """
    kind = tokenizer.decoder and json.loads(tokenizer.decoder.__getstate__())
    kinds = {part["type"] for part in kind.get("decoders", [kind])} if kind else {"none"}
    if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
        raise ValueError(
            f"a tokenizer with the decoder {', '.join(sorted(kinds))} is not supported; "
            "supported are byte-level BPE and SentencePiece"
        )
    byte_of = {letter: byte for byte, letter in _letters().items()}
    added = tokenizer.get_added_tokens_decoder()

    def of(i: int) -> bytes:
        if i in added:
            return b"" if added[i].special else added[i].content.encode()
        name = tokenizer.id_to_token(i)
        if name is None:  # ids need not be without gaps
            return b""
        if "ByteLevel" in kinds:
            return bytes(byte_of[letter] for letter in name) if byte_of.keys() >= set(name) else name.encode()
        if "ByteFallback" in kinds and (byte := re.fullmatch("<0x([0-9A-F]{2})>", name)):
            return bytes.fromhex(byte[1])
        return name.replace(_SPACE, " ").encode()

    return [of(i) for i in range(max(tokenizer.get_vocab().values(), default=-1) + 1)]
