"""One rule for what is for training and what for testing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def split(items: Iterable[Item], by: Callable[[Item], str], test: float = 0.2) -> tuple[list[Item], list[Item]]:
    """The items in two lists, train and test, in their order; items with the same `by(item)` are in the same list.

    A hash of `by(item)` decides, so that an item's side depends on nothing else: not on a seed, the order or the other
    items. About the share `test` is in the second list. Raises ValueError for a share outside of 0 to 1.
    """
    if not 0 <= test <= 1:
        raise ValueError(f"the share of items for testing is between 0 and 1, not {test}")
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        digest = hashlib.sha256(by(item).encode("utf-8", "surrogatepass")).digest()
        sides[int.from_bytes(digest[:6], "big") < test * 2**48].append(item)
    return sides
