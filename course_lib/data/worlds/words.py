"""Words of rendered worlds: how a text is cut into them, and a tokenizer with one token a word."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers

PAD, END = "<pad>", "<end>"


def distinct_words(texts: Iterable[str]) -> tuple[str, ...]:
    """The different words and marks of some texts, in order of appearance."""
    cut = pre_tokenizers.Whitespace()
    return tuple(dict.fromkeys(word for text in texts for word, _ in cut.pre_tokenize_str(text)))


def word_tokenizer(vocabulary: Iterable[str]) -> Tokenizer:
    """A tokenizer with one token a word: `<pad>` is 0, `<end>` is 1, then the vocabulary in its order.

    `encode_batch` pads with `<pad>` on the right. A word that is not in the vocabulary raises an exception.
    """
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys([PAD, END, *vocabulary]))}))
    tokenizer.add_special_tokens([PAD, END])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(pad_id=0, pad_token=PAD)
    return tokenizer
