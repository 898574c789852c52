"""One rule for what is for training and what for testing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def split_by_hash(items: Iterable[Item], by: Callable[[Item], str], test: float = 0.2) -> tuple[list[Item], list[Item]]:
    """Split items into two lists, train and test, each in the given order.

    A hash of `by(item)` decides, so that an item's side depends on nothing else: not on a seed, the order or the other
    items. Items with the same `by(item)` are in the same list.

    Args:
        items: What to split.
        by: The text of an item that decides.
        test: The share of items in the second list, more or less.

    Raises:
        ValueError: The share is outside of 0 to 1.
    """
    if not 0 <= test <= 1:
        raise ValueError(f"the share of items for testing is between 0 and 1, not {test}")
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        sides[hash_to_unit(by(item)) < test].append(item)
    return sides


def hash_to_unit(text: str) -> float:
    """A number from 0 to 1 that looks random and depends on the text alone."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
