"""What a figure shows, in words and as data: its alt text, and what a page needs to draw it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Real
from matplotlib.figure import Figure

MOST_POINTS = 200  # of one line on a page; more could not be told apart


@dataclass(frozen=True)
class Drawing:
    """What a function of this room drew.

    Attributes:
        alt: What a reader who cannot see the figure should learn from it, made from the data.
        data: What a page needs to draw the figure again; None if it shows the picture.
    """

    alt: str
    data: dict[str, Any] | None = None


_DRAWINGS: WeakKeyDictionary[Figure, Drawing] = WeakKeyDictionary()


def describe(fig: Figure, alt: str, data: dict[str, Any] | None = None) -> Figure:
    """Attach to a figure what it shows, and return it."""
    _DRAWINGS[fig] = Drawing(alt, data)
    return fig


def drawing_of(fig: Figure) -> Drawing | None:
    """Return what a figure shows, or None if no function of this room drew it."""
    return _DRAWINGS.get(fig)


def short(value: float) -> float | None:
    """Return a number with six digits, None (JSON's null) if it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def level(label: str, value: float | None) -> dict[str, Any] | None:
    """Return a dashed line as data."""
    return None if value is None else {"label": label, "value": short(value)}


def thinned(values: Real[np.ndarray, " points"]) -> list[float | None]:
    """Return at most MOST_POINTS of the values, the first and the last among them."""
    n = len(values)
    kept = np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int)
    return [short(value) for value in values[kept].tolist()]


def line_in_words(label: str, xs: Real[np.ndarray, " points"], ys: Float[np.ndarray, " points"]) -> str:
    """Say where a line begins and ends, and its top or bottom between them where that stands out."""
    drawn = np.isfinite(ys)
    xs, ys = xs[drawn], ys[drawn]
    if not len(ys):
        return f"{label}: no points"
    if len(ys) == 1:
        return f"{label}: {ys[0]:.3g} at {xs[0]:.4g}"
    text = f"{label}: from {ys[0]:.3g} at {xs[0]:.4g} to {ys[-1]:.3g} at {xs[-1]:.4g}"
    room = 0.1 * (ys.max() - ys.min())
    for word, at in (("highest", int(ys.argmax())), ("lowest", int(ys.argmin()))):
        if min(abs(ys[at] - ys[0]), abs(ys[at] - ys[-1])) > room:
            text += f", {word} {ys[at]:.3g} at {xs[at]:.4g}"
    return text


def map_in_words(
    name: str, weights: Float[np.ndarray, "query key"], queries: Sequence[str], keys: Sequence[str]
) -> str:
    """Say where queries look: each of a few at its favourite key, many by their averages."""
    weights = np.nan_to_num(weights)
    n_queries, n_keys = weights.shape
    if n_queries <= 3 or n_queries != n_keys:
        rows = zip(queries[:6], weights.argmax(1)[:6], weights.max(1)[:6], strict=True)
        return f"{name}: " + "; ".join(f"{query} looks most at {keys[key]} ({most:.0%})" for query, key, most in rows)
    # The first query, which under a causal mask has no choice, counts in none of the three.
    own, before, first = (part.mean() for part in (np.diag(weights)[1:], np.diag(weights, -1), weights[2:, 0]))
    future = ", and none on later tokens" if not np.triu(weights, 1).any() else ""
    look = f"{own:.0%} on the token itself, {before:.0%} on the one before, {first:.0%} on the first{future}"
    return f"{name}: on average {look}"
