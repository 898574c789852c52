"""One rule that splits data into training and test sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def split_by_hash(items: Iterable[Item], by: Callable[[Item], str], test: float = 0.2) -> tuple[list[Item], list[Item]]:
    """Split items into two lists, train and test, each in the given order.

    A hash of `by(item)` decides, so the split of an item depends on nothing else: not on a seed, the order or the other
    items. Items with the same `by(item)` are in the same list.

    Args:
        items: The items to split.
        by: The function that returns the text of an item that decides.
        test: The share of items in the second list, approximately.

    Raises:
        ValueError: If the share is not from 0 to 1.
    """
    if not 0 <= test <= 1:
        raise ValueError(f"the share of items for testing is between 0 and 1, not {test}")
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        sides[hash_to_unit(by(item)) < test].append(item)
    return sides


def hash_to_unit(text: str) -> float:
    """Hash a text to a number from 0 to 1, which looks random and depends on the text alone."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
