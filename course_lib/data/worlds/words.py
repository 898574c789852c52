"""Words of worlds written as text: splitting a text into words, and a tokenizer with one token per word."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers

PAD, END = "<pad>", "<end>"


def distinct_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct words and marks of texts, in order of appearance."""
    cut = pre_tokenizers.Whitespace()
    return tuple(dict.fromkeys(word for text in texts for word, _ in cut.pre_tokenize_str(text)))


def word_tokenizer(vocabulary: Iterable[str]) -> Tokenizer:
    """Build a tokenizer with one token per word: `<pad>` is 0, `<end>` is 1, then the vocabulary in its order.

    `encode_batch` pads with `<pad>` on the right. A word that is not in the vocabulary raises an exception.
    """
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys([PAD, END, *vocabulary]))}))
    tokenizer.add_special_tokens([PAD, END])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(pad_id=0, pad_token=PAD)
    return tokenizer
