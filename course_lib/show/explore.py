"""The attention explorer: live widgets in Jupyter, a self-contained twin on the page, in one output."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets
import numpy as np
from jaxtyping import Float

from course_lib.show.attention import Attention, twin
from course_lib.show.charts import array
from course_lib.show.display import display_bundle, required_text
from course_lib.show.live import WIDE, panel

HUE = "40,135,200"  # a blue that stands out on white and on dark, since a widget cannot know its page
CELL = 20  # pixels


def explorer(
    sentences: Sequence[str],
    tokens: Sequence[Sequence[str]],
    weights: Sequence[Any],
    *,
    title: str = "Attention explorer",
    sentence: int = 0,
    layer: int = 0,
    head: int = 0,
    query: int | None = None,
    page_layers: Sequence[int] | None = None,
) -> None:
    """Show where each token of each sentence looks, for a layer and head that the reader chooses.

    tokens: the tokens of each sentence, as text.
    weights: for each sentence Float "layers heads query key", every row summing to 1.
    sentence, layer, head, query: what is shown first; the last token by default.
    page_layers: the layers that the page version keeps when all of them would exceed 300 KB.
    Raises ValueError when tokens and weights do not fit each other, or have no such sentence, layer, head or query.
    """
    title = required_text(title, "An explorer")
    attention = checked(sentences, tokens, weights)
    n_layers, n_heads = attention.weights[0].shape[:2]
    within("sentence", sentence, len(sentences))
    within("layer", layer, n_layers)
    within("head", head, n_heads)
    n_tokens = len(tokens[sentence])
    start = (sentence, layer, head, within("query", n_tokens - 1 if query is None else query, n_tokens))
    widget = live(attention, title, start)
    html = twin(attention, title=title, start=start, layers=page_layers)
    text = f"[{title}: {len(attention.names)} sentences, {n_layers} layers]"
    view = widget._repr_mimebundle_()
    display_bundle({**view, "text/html": html, "text/plain": text})


def within(what: str, place: int, n: int) -> int:
    """The place itself, if it is one of n."""
    if not 0 <= place < n:
        raise ValueError(f"explorer(): {what}={place} is not among the {n} there are; the first is 0.")
    return place


def checked(sentences: Sequence[str], tokens: Sequence[Sequence[str]], weights: Sequence[Any]) -> Attention:
    arrays = [array(w) for w in weights]
    if not sentences or not len(sentences) == len(tokens) == len(arrays):
        raise ValueError(
            f"explorer() needs one list of tokens and one array for each sentence; got {len(sentences)} sentences, "
            f"{len(tokens)} lists and {len(arrays)} arrays."
        )
    for name, words, w in zip(sentences, tokens, arrays, strict=True):
        if w.ndim != 4 or w.shape[2:] != (len(words), len(words)) or w.shape[:2] != arrays[0].shape[:2]:
            raise ValueError(
                f"explorer(): weights of shape {tuple(w.shape)} do not fit the {len(words)} tokens of {name!r}; "
                "pass layers x heads x query x key, with no batch axis."
            )
    return Attention([str(s) for s in sentences], [[str(t) for t in words] for words in tokens], arrays)


def live(attention: Attention, title: str, start: tuple[int, int, int, int]) -> ipywidgets.VBox:
    """The widgets: sentence, layer, head, token, and the map they redraw."""
    n_layers, n_heads = attention.weights[0].shape[:2]
    wide = ipywidgets.Layout(**WIDE)
    pick = ipywidgets.Dropdown(
        options=[(name, i) for i, name in enumerate(attention.names)],
        value=start[0],
        description="Sentence",
        layout=wide,
    )
    layer = ipywidgets.IntSlider(start[1], 0, n_layers - 1, description="Layer", layout=wide)
    head = ipywidgets.IntSlider(start[2], 0, n_heads - 1, description="Head", layout=wide)
    query = ipywidgets.Dropdown(description="Token", layout=wide)
    skip = ipywidgets.Checkbox(False, description="Leave out the first token", indent=True, layout=wide)

    def new_sentence(*_: Any) -> None:
        words = attention.tokens[pick.value]
        chosen = min(start[3] if query.value is None else query.value, len(words) - 1)
        query.options = [(f"{i + 1}  {word.strip() or '␣'}", i) for i, word in enumerate(words)]
        query.value = chosen

    def draw() -> str:
        words = attention.tokens[pick.value]
        if query.value is None or len(query.options) != len(words):
            return ""  # the tokens of another sentence are just coming in
        matrix = attention.weights[pick.value][layer.value, head.value]
        return drawn(words, without_first(matrix) if skip.value else matrix, query.value)

    new_sentence()
    pick.observe(new_sentence, "value")
    return panel("attention", title, [pick, layer, head, query, skip], draw)


def without_first(matrix: Float[np.ndarray, "query key"]) -> Float[np.ndarray, "query key"]:
    """The weights with the first key left out and each row scaled to sum to 1 again."""
    rest = matrix.copy()
    rest[:, 0] = 0
    total = rest.sum(1, keepdims=True)
    return np.where(total > 1e-6, rest / np.maximum(total, 1e-6), 0.0)


def drawn(words: Sequence[str], matrix: Float[np.ndarray, "query key"], query: int) -> str:
    """One head as HTML: the tokens shaded by where the chosen one looks, and the whole map below."""
    names = [word.strip() or "␣" for word in words]
    tokens = "".join(
        f'<span style="display:inline-block;padding:2px 6px;margin:2px;border-radius:4px;text-align:center;'
        f"line-height:1.4;"
        f"border:{'2px solid' if k == query else '1px solid rgba(128,128,128,.5)'};"
        f'background:rgba({HUE},{0.48 * matrix[query, k]:.3f})">{escape(name)}<br>'
        f"<small>{matrix[query, k]:.2f}</small></span>"
        for k, name in enumerate(names)
    )
    margin = 12 + 7.5 * max(len(name) for name in names)
    side = margin + CELL * len(names) + 4
    parts = []
    for q, name in enumerate(names):
        y = margin + q * CELL
        bold = ' font-weight="700"' if q == query else ""
        parts.append(f'<text x="{margin - 6}" y="{y + 14}" text-anchor="end"{bold}>{escape(name)}</text>')
        parts.append(f'<text transform="translate({y + 14} {margin - 6}) rotate(-90)">{escape(name)}</text>')
        for k in np.flatnonzero(matrix[q] >= 0.005):
            box = f'x="{margin + k * CELL}" y="{y}" width="{CELL}" height="{CELL}"'
            parts.append(f'<rect {box} fill="rgb({HUE})" fill-opacity="{min(matrix[q, k], 1):.3f}"/>')
    row = f'x="{margin}" y="{margin + query * CELL}" width="{CELL * len(names)}" height="{CELL}"'
    return (
        f'<div>{tokens}</div><svg width="{side}" height="{side}" role="img" font-size="12" fill="currentColor" '
        f'aria-label="Map of weights: rows look, columns are looked at.">{"".join(parts)}'
        f'<rect {row} fill="none" stroke="currentColor" stroke-width="2"/></svg>'
    )
