"""Pre-tokenization: cutting a text into pieces before BPE merges anything; no token crosses a cut."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from tokenizers import Regex, pre_tokenizers

# The cuts of GPT-4, except that white space is also cut after 64 characters: the fast engines cannot go back over a
# million spaces in a row.
PATTERN = "|".join(
    [
        r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])",  # the end of "it's" and "we'll"
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with the space or sign before it
        r"\p{N}{1,3}",  # up to three digits
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # signs, with the space before and the line ends after them
        r"\s{0,64}[\r\n]+",  # line ends, with the white space before
        r"\s{1,64}(?!\S)",  # other white space, but for the last, which may go with the next word
        r"\s",
    ]
)


def pretokenize(text: str, pattern: str = PATTERN) -> list[str]:
    """Cut a text into pieces, which joined are the text.

    Raises:
        ValueError: If the text contains half a surrogate pair.
    """
    return [piece for piece, _ in _splitter(pattern).pre_tokenize_str(require_text(text))]


@functools.cache
def _splitter(pattern: str) -> pre_tokenizers.PreTokenizer:
    # Not `regex`: its Unicode tables are newer than those of the fast engines, with 17,000 more letters.
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def split_at_special(text: str | bytes, special: Mapping[str, int], alphabet: bytes) -> Iterator[str | int]:
    """Yield the parts of a text: strings to tokenize, and the ids of special tokens and of bytes that are no text.

    Raises:
        ValueError: If the text contains half a surrogate pair.
    """
    fixed = dict(special)
    if isinstance(text, str):
        require_text(text)
    else:
        text = text.decode("utf-8", "surrogateescape")  # a byte that is no text becomes U+DC00 + byte
        fixed |= {chr(0xDC00 + byte): alphabet.index(byte) for byte in range(128, 256)}
    longest_first = sorted(fixed, key=len, reverse=True)
    for part in re.split(f"({'|'.join(map(re.escape, longest_first))})", text) if fixed else [text]:
        if part:
            yield fixed.get(part, part)


def require_text(text: str) -> str:
    """Return the text unchanged, after checking that it is valid.

    Raises:
        ValueError: If it contains half a surrogate pair, which a Python string may contain but valid text may not.
    """
    if stray := re.search("[\ud800-\udfff]", text):
        place = f"character {stray.start()}, {stray[0]!a},"
        raise ValueError(f"{place} is half a surrogate pair, which is no text; leave it out, or pass bytes")
    return text
