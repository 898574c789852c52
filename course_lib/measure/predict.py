"""The reader's predictions in a lab: noted before a number is measured, and told beside it by `record`."""

from __future__ import annotations

import re
from types import EllipsisType
from typing import SupportsFloat

KEY = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")

_guesses: dict[str, float | str] = {}


def predict(key: str, guess: SupportsFloat | str | EllipsisType) -> None:
    """Note what you expect a number to be, before the lab measures it; `record` then says both.

    Args:
        key: The key with which the lab records the number.
        guess: A number, or words. The three dots `...` stand for no guess.

    Raises:
        ValueError: If the key is malformed.
        TypeError: If the guess is neither a number nor words.
    """
    if not KEY.fullmatch(key):
        raise ValueError(f"the key {key!r} should be lower-case words joined by dots, such as 'recall.accuracy'")
    _guesses.pop(key, None)
    if isinstance(guess, str):
        _guesses[key] = guess
    elif guess is not ...:
        try:
            _guesses[key] = float(guess)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"a prediction of {key} is a number, such as 0.5, or words in quotes") from None


def verdict(key: str, value: float | None) -> str | None:
    """Say what the reader predicted and how far off it was; None if they did not."""
    guess = _guesses.get(key)
    if guess is None:
        return None
    if isinstance(guess, str) or value is None:
        return f"You predicted {guess if isinstance(guess, str) else f'{guess:.4g}'}."
    if f"{guess:.4g}" == f"{value:.4g}":
        return f"You predicted {guess:.4g}, and so it came out."
    return f"You predicted {guess:.4g}, which is {abs(guess - value):.3g} too {'high' if guess > value else 'low'}."
