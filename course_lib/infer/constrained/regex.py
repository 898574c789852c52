"""Regular expressions as trees over characters, and the same trees over the bytes of UTF-8."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# Python's own parser, so that a pattern means here what it means in `re`; private there, a module since 3.11.
_constants: Any = importlib.import_module("re._constants")
_parser: Any = importlib.import_module("re._parser")

LAST = 0x10FFFF  # the last code point of Unicode
SURROGATES = (0xD800, 0xDFFF)  # halves of UTF-16 pairs: no characters, so UTF-8 has no bytes for them
LINE_ENDS = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))  # those of ECMA-262, section 12.3
MOST_TIMES = 1 << 20  # Python's own limit is no number, but a marker that it could be mistaken for

Ranges = tuple[tuple[int, int], ...]  # sorted, with gaps between, both ends included


@dataclass(frozen=True)
class Chars:
    """One character (or byte) out of some ranges; out of none, it matches nothing at all."""

    ranges: Ranges


@dataclass(frozen=True)
class Concat:
    """One part after the other; no part is the empty text."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Either:
    """Any one of the options."""

    options: tuple[Tree, ...]


@dataclass(frozen=True)
class Repeat:
    """`part` again and again, from `least` to `most` times; None for without end."""

    part: Tree
    least: int
    most: int | None


Tree = Chars | Concat | Either | Repeat
ANY = Chars(((0, LAST),))
EMPTY_TEXT = Concat(())


def parse(pattern: str, *, ecma: bool = False) -> Tree:
    """The tree of a pattern in Python's syntax, as `re.fullmatch` reads it.

    ecma: as JSON Schema means it (ECMA-262): anywhere in the text, `.` for all but four ends of lines, `\\d`, `\\w` and
    `\\s` for ASCII characters only (in ECMA-262 more is `\\s`; that is left out).
    Raises ValueError for what is no pattern, and, by its name, for what no automaton can do: back references,
    look-around, atomic groups, word boundaries, flags that change letters, an anchor in the middle.
    """
    try:
        parsed = _parser.parse(pattern, re.ASCII if ecma else 0)
        other = parsed.state.flags & ~(re.UNICODE | re.ASCII | re.DOTALL | re.VERBOSE).value
        if other:
            raise ValueError(f"the flag {re.RegexFlag(other)!r} is not supported; write the pattern without it")
        reader = _Reader(ecma, bool(parsed.state.flags & re.ASCII.value), bool(parsed.state.flags & re.DOTALL.value))
        return reader.sequence(list(parsed), start=True, end=True)
    except (re.error, OverflowError) as error:
        raise ValueError(f"{_short(pattern)} is not a regular expression: {error}") from None
    except ValueError as error:
        raise ValueError(f"the pattern {_short(pattern)} cannot be used: {error}") from None
    except RecursionError:
        raise ValueError("the pattern has too many groups within groups; make it flatter") from None


@dataclass(frozen=True)
class _Reader:
    """From Python's parse of a pattern to a tree. start, end: whether the text begins or ends at a place."""

    ecma: bool
    ascii_only: bool
    dotall: bool

    def sequence(self, items: list[Any], start: bool, end: bool) -> Tree:
        if start and items and _is_anchor(items[0], "AT_BEGINNING", "AT_BEGINNING_STRING"):
            items, start = items[1:], False
        elif start and self.ecma and not (items and _is_group(items[0])):
            items = [_ANYTHING, *items]
        if end and items and _is_anchor(items[-1], "AT_END", "AT_END_STRING"):
            items, end = items[:-1], False
        elif end and self.ecma and not (items and _is_group(items[-1])):
            items = [*items, _ANYTHING]
        last = len(items) - 1
        parts = [self.item(kind, value, start and i == 0, end and i == last) for i, (kind, value) in enumerate(items)]
        return parts[0] if len(parts) == 1 else Concat(tuple(parts))

    def item(self, kind: Any, value: Any, start: bool, end: bool) -> Tree:
        match str(kind):
            case "LITERAL":
                return Chars(((value, value),))
            case "NOT_LITERAL":
                return Chars(complement(((value, value),)))
            case "ANY":
                return ANY if self.dotall else Chars(complement(LINE_ENDS if self.ecma else ((10, 10),)))
            case "IN":
                return Chars(self.members(value))
            case "BRANCH":
                return Either(tuple(self.sequence(list(option), start, end) for option in value[1]))
            case "SUBPATTERN":
                _, added, removed, content = value
                if added or removed:
                    raise ValueError("flags within a group are not supported")
                return self.sequence(list(content), start, end)
            case "MAX_REPEAT" | "MIN_REPEAT":  # greedy or not, it is the same set of texts
                least, most, content = value
                limit = None if most is _constants.MAXREPEAT else int(most)
                if max(int(least), limit or 0) > MOST_TIMES:
                    raise ValueError(f"nothing may be repeated more than {MOST_TIMES} times, unless without end")
                return Repeat(self.sequence(list(content), False, False), int(least), limit)
            case "ANYTHING":
                return Repeat(ANY, 0, None)
        raise ValueError(f"{_name(kind, value)} is not supported, since no finite automaton is made from it here")

    def members(self, items: list[Any]) -> Ranges:
        negated, found = False, []
        for kind, value in items:
            match str(kind):
                case "NEGATE":
                    negated = True
                case "LITERAL":
                    found.append((value, value))
                case "RANGE":
                    found.append(value)
                case "CATEGORY":
                    name = str(value).removeprefix("CATEGORY_")
                    ranges = _category(_ESCAPES[name.removeprefix("NOT_")], self.ascii_only)
                    found += complement(ranges) if name.startswith("NOT_") else ranges
        return complement(union(found)) if negated else union(found)


_ANYTHING = ("ANYTHING", None)
_ESCAPES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_NAMES = {
    "GROUPREF": "a back reference",
    "GROUPREF_EXISTS": "a conditional group",
    "ASSERT": "look-around",
    "ASSERT_NOT": "look-around",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
    "AT_BOUNDARY": r"the word boundary \b",
    "AT_NON_BOUNDARY": r"the word boundary \B",
    "AT_BEGINNING": "^ elsewhere than at the beginning",
    "AT_BEGINNING_STRING": r"\A elsewhere than at the beginning",
    "AT_END": "$ elsewhere than at the end",
    "AT_END_STRING": r"\Z elsewhere than at the end",
}


def _name(kind: Any, value: Any) -> str:
    name = str(value) if str(kind) == "AT" else str(kind)
    return _NAMES.get(name, name)


def _is_anchor(item: Any, *names: str) -> bool:
    return str(item[0]) == "AT" and str(item[1]) in names


def _is_group(item: Any) -> bool:
    return str(item[0]) in ("BRANCH", "SUBPATTERN")


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:57] + "...")


@functools.cache
def _category(escape: str, ascii_only: bool) -> Ranges:
    """The characters that Python itself counts to a category, such as digits."""
    everything = "".join(map(chr, range(128 if ascii_only else LAST + 1)))
    return tuple((m.start(), m.end() - 1) for m in re.finditer(f"{escape}+", everything))


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers as sorted ranges with gaps between them."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges, last: int = LAST) -> Ranges:
    """The numbers from 0 to `last` that are in none of the ranges."""
    edges = [-1, *(edge for pair in ranges for edge in pair), last + 1]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in gaps if low + 1 < high)


def intersection(a: Ranges, b: Ranges, last: int = LAST) -> Ranges:
    """The numbers that are in both."""
    return complement(union((*complement(a, last), *complement(b, last))), last)


def replace_chars(tree: Tree, new: Callable[[Ranges], Tree]) -> Tree:
    """The tree with something else in place of every set of characters."""
    match tree:
        case Chars(ranges):
            return new(ranges)
        case Concat(parts):
            return Concat(tuple(replace_chars(part, new) for part in parts))
        case Either(options):
            return Either(tuple(replace_chars(option, new) for option in options))
    return Repeat(replace_chars(tree.part, new), tree.least, tree.most)


def matches_nothing(tree: Tree) -> bool:
    """Whether no text at all matches."""
    match tree:
        case Chars(ranges):
            return not ranges
        case Concat(parts):
            return any(map(matches_nothing, parts))
        case Either(options):
            return all(map(matches_nothing, options))
    return tree.least > 0 and matches_nothing(tree.part)


def write(tree: Tree) -> str:
    """A pattern for the tree, which `parse` turns into an equal one."""
    match tree:
        case Chars(ranges):
            inside = "".join(_code(low) + ("-" + _code(high)) * (high > low) for low, high in ranges)
            return f"[{inside}]" if ranges else r"[^\s\S]"
        case Concat(parts):
            return "".join(map(write, parts))
        case Either(options):
            return f"(?:{'|'.join(map(write, options))})"
    most = "" if tree.most is None else tree.most
    return f"(?:{write(tree.part)}){{{tree.least},{most}}}"


def _code(character: int) -> str:
    return f"\\U{character:08x}" if character > 127 or not chr(character).isalnum() else chr(character)
