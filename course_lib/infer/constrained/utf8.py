"""Sets of characters as sequences of byte ranges: what UTF-8 (RFC 3629, section 3) makes of them."""

from __future__ import annotations

import functools

from course_lib.infer.constrained.regex import (
    LAST,
    SURROGATES,
    Chars,
    Concat,
    Either,
    Ranges,
    Tree,
    intersection,
    union,
)

# The last character of one, two, three and four bytes.
_LAST_OF = (0x7F, 0x7FF, 0xFFFF, LAST)
Sequence = tuple[tuple[int, int], ...]  # for each byte of a character, what it may be

_NO_SURROGATES: Ranges = ((0, SURROGATES[0] - 1), (SURROGATES[1] + 1, LAST))


@functools.lru_cache(maxsize=1024)
def utf8(characters: Ranges) -> Tree:
    """The bytes of any one of these characters, as a tree that needs no look ahead: equal beginnings are shared."""
    sequences = [s for low, high in intersection(characters, _NO_SURROGATES) for s in _sequences(low, high)]
    return _tree(sequences)


def _sequences(low: int, high: int) -> list[Sequence]:
    """The characters from `low` to `high` as products of byte ranges: every first byte with every second, and so on."""
    for most in _LAST_OF:
        if low <= most < high:  # encodings of different lengths
            return _sequences(low, most) + _sequences(most + 1, high)
    first, last = chr(low).encode(), chr(high).encode()
    for place in range(1, len(first)):
        below = (1 << 6 * (len(first) - place)) - 1  # the bits of this byte and those after it
        if low & ~below != high & ~below:  # earlier bytes differ, so the later ones must run through all values
            if low & below:
                return _sequences(low, low | below) + _sequences((low | below) + 1, high)
            if high & below != below:
                return _sequences(low, (high & ~below) - 1) + _sequences(high & ~below, high)
    return [tuple(zip(first, last, strict=True))]


def _tree(sequences: list[Sequence]) -> Tree:
    if not sequences:
        return Chars(())
    rest: dict[tuple[int, int], list[Sequence]] = {}
    for sequence in sequences:  # first bytes are equal or apart, never overlapping
        rest.setdefault(sequence[0], []).append(sequence[1:])
    firsts: dict[Tree, list[tuple[int, int]]] = {}
    for first, others in rest.items():
        firsts.setdefault(_tree(others) if others[0] else Concat(()), []).append(first)
    options = tuple(
        Chars(union(first)) if then == Concat(()) else Concat((Chars(union(first)), then))
        for then, first in firsts.items()
    )
    return options[0] if len(options) == 1 else Either(options)
