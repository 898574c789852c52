"""The attention explorer for a page: weights computed in advance, and as many of them as its size allows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, UInt8

from course_lib.show.twin import LIMIT, choice, frame

SHORT = 32  # tokens; a longer map is hard to read anyway

Weights = Float[np.ndarray, "layers heads query key"]


@dataclass(frozen=True)
class Attention:
    """What an explorer shows: per sentence its name, its tokens and its weights."""

    names: list[str]
    tokens: list[list[str]]
    weights: list[Weights]

    @property
    def causal(self) -> bool:
        """Whether no token of any sentence looks at a later one."""
        return not any(np.any(np.triu(w, 1)) for w in self.weights)

    def shortened(self, n: int) -> Attention:
        """The first n tokens of each sentence; in a causal model they do not depend on the rest."""
        return Attention(self.names, [t[:n] for t in self.tokens], [w[:, :, :n, :n] for w in self.weights])

    def chosen(self, layers: Sequence[int], heads: Sequence[int]) -> Attention:
        return Attention(self.names, self.tokens, [w[np.ix_(layers, heads)] for w in self.weights])

    def cells(self) -> int:
        """Numbers to store for one head of one layer."""
        return sum(n * (n + 1) // 2 if self.causal else n * n for n in map(len, self.tokens))


def twin(
    attention: Attention, *, title: str, start: tuple[int, int, int, int], layers: Sequence[int] | None = None
) -> str:
    """HTML that explores `attention` with no kernel and no network, at most LIMIT bytes; equal input gives equal HTML.

    start: sentence, layer, head and query token to show first.
    layers: the layers to keep where not all fit; evenly spaced ones by default.
    What was left out is written under the map. Raises ValueError when not even one head of one layer fits.
    """
    n_layers, n_heads = attention.weights[0].shape[:2]
    note = []
    if maps_that_fit(attention, title) < n_layers * n_heads and attention.causal:
        longest = max(map(len, attention.tokens))
        attention = attention.shortened(SHORT)
        note += [f"the first {SHORT} tokens"] if longest > SHORT else []
    maps = maps_that_fit(attention, title)
    if maps < 1:
        raise ValueError(
            f"explorer(): one head exceeds {LIMIT // 1000} KB on the page; pass fewer or shorter sentences."
        )
    offered = list(range(n_layers)) if layers is None else sorted(set(layers))
    heads = evenly(range(n_heads), maps, start[2])
    keep = evenly(offered, maps // len(heads), nearest(offered, start[1]))
    note += [f"layers {listed(keep)} of {n_layers}"] if len(keep) < n_layers else []
    note += [f"heads {listed(heads)} of {n_heads}"] if len(heads) < n_heads else []
    text = f"To stay small, this page holds {' and '.join(note)}. The notebook holds everything." if note else ""
    query = min(start[3], len(attention.tokens[start[0]]) - 1)
    first = (start[0], keep.index(nearest(keep, start[1])), heads.index(start[2]), query)
    return document(attention.chosen(keep, heads), title, keep, heads, first, text)


def maps_that_fit(attention: Attention, title: str) -> int:
    """How many heads, each with its map of every sentence, the size limit leaves room for."""
    n_layers, n_heads = attention.weights[0].shape[:2]
    nothing = attention.chosen([], [])
    rest = document(nothing, title, range(n_layers), range(n_heads), (0, 0, 0, 0), note="")
    room = LIMIT - len(rest.encode()) - 1_000  # the note is shorter than that
    per_map = attention.cells() * 4 / 3  # base64
    return int(max(room - 4 * len(attention.names), 0) // per_map)


def evenly(values: Sequence[int], count: int, always: int) -> list[int]:
    """`count` of the values, evenly spaced from first to last, moved so that `always` is one of them."""
    if count >= len(values):
        return list(values)
    chosen = sorted({values[round(i * (len(values) - 1) / max(count - 1, 1))] for i in range(count)})
    chosen[chosen.index(nearest(chosen, always))] = always
    return chosen


def nearest(values: Sequence[int], wanted: int) -> int:
    return min(values, key=lambda value: abs(value - wanted))


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def pack(weights: Weights, causal: bool) -> str:
    """Weights as base64 of round(255 sqrt(w)), one byte each, layer by layer, rows in order; the future left out."""
    packed: UInt8[np.ndarray, ...] = np.round(255 * np.sqrt(np.clip(weights, 0, 1))).astype(np.uint8)
    n = packed.shape[-1]
    cells = packed[:, :, *np.tril_indices(n)] if causal else packed
    return base64.b64encode(np.ascontiguousarray(cells).tobytes()).decode("ascii")


def document(
    attention: Attention,
    title: str,
    layers: Sequence[int],
    heads: Sequence[int],
    start: tuple[int, int, int, int],
    note: str,
) -> str:
    """The HTML for exactly these layers and heads; `start` counts within them."""
    causal = attention.causal
    data = {
        "causal": causal,
        "heads": len(heads),
        "query": start[3],
        "sentences": [
            {"tokens": tokens, "weights": pack(weights, causal)}
            for tokens, weights in zip(attention.tokens, attention.weights, strict=True)
        ],
    }
    body = f"""<div class="controls">
{choice("sentence", attention.names, start[0])}
{choice("layer", layers, start[1])}
{choice("head", heads, start[2])}
<label class="tick"><input type="checkbox" data-role="skip" autocomplete="off"> Leave out the first token</label>
</div>
<div class="tokens" data-role="tokens" role="group" aria-label="Choose a token to see where it looks"></div>
<p class="said" data-role="said" aria-live="polite"></p>
<div class="map" data-role="map" role="group" tabindex="0" aria-label="Map of all tokens"></div>
{f'<p class="note">{escape(note)}</p>' if note else ""}"""
    return frame("attention", title, body, data)
