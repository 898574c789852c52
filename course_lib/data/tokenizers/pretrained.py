"""The tokenizers of published models: GPT-2's and SmolLM2's byte-level BPE, MiniLM's WordPiece."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from course_lib.data.packages.fetching import fetch
from course_lib.files import read_json


@functools.cache
def gpt2_tokenizer() -> Tokenizer:
    """Load GPT-2's tokenizer of 50,257 tokens: "Hello world" is [15496, 995].

    Source: Radford et al. 2019, section 2.2.
    """
    folder = fetch("gpt2-vocabulary")
    vocab = read_json(folder / "encoder.json")
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]  # the first names the version
    tokenizer = _byte_level_bpe(vocab, (line.split() for line in lines if line))
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return tokenizer


@functools.cache
def smollm2_tokenizer() -> Tokenizer:
    """Load SmolLM2's tokenizer of 49,152 tokens; `<|im_start|>` and `<|im_end|>` begin and end a chat turn.

    Each digit is a token of its own. There is no token for 21 of the 256 bytes (some control characters, unassigned
    parts of Unicode); these bytes are dropped.
    """
    from course_lib.data.packages.pretrained import smollm2_fields

    return gguf_tokenizer(smollm2_fields())


def minilm_tokenizer() -> Tokenizer:
    """Load the WordPiece tokenizer of MiniLM and BERT (uncased): 30,522 tokens, with `[CLS]` and `[SEP]` around a text.

    A text keeps its length: the file's own setting, which truncates and pads all texts to 128 tokens, is removed. Every
    call returns a new tokenizer, so `enable_padding()` and `enable_truncation(256)` affect no other user.

    Source: Devlin et al. 2018, section 3; Wu et al. 2016, section 4.1.
    """
    tokenizer = Tokenizer.from_file(str(fetch("minilm-l6-v2") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def gguf_tokenizer(fields: dict[str, Any]) -> Tokenizer:
    """Build the byte-level BPE tokenizer of a GGUF file from its metadata, with single digits as in `smollm`."""
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
