"""The attention explorer: what each token attends to, for a sentence, a layer and a head that the reader chooses."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from course_lib.show.charts import array
from course_lib.show.display import display_bundle
from course_lib.show.explorers import LIMIT, explorer_html

SHORT = 32  # tokens of a sentence that are kept where not all fit; a longer map is hard to read anyway
BESIDES = 50_000  # bytes of LIMIT for everything but the weights

Weights = Float[np.ndarray, "layers heads query key"]


def explorer(
    sentences: Sequence[str],
    tokens: Sequence[Sequence[str]],
    weights: Sequence[Any],
    *,
    title: str = "Attention explorer",
    layer: int = 0,
    head: int = 0,
) -> None:
    """Show what each token of each sentence attends to, for a layer and a head that the reader chooses.

    An explorer has at most 300 KB. If that is too little for all weights, it keeps only the first 32 tokens of each
    sentence (if the model is causal), then fewer layers, and says so.

    Args:
        sentences: The names of the sentences.
        tokens: The tokens of each sentence, as text.
        weights: The attention weights of each sentence, Float "layers heads query key"; every row sums to 1.
        title: A heading for the explorer.
        layer: The layer that is shown first.
        head: The head that is shown first.

    Raises:
        ValueError: If tokens and weights do not match, there is no such layer or head, or not even one layer fits into
            the explorer.
    """
    maps = checked(sentences, tokens, weights)
    n_layers, n_heads = maps[0].shape[:2]
    for what, place, n in (("layer", layer, n_layers), ("head", head, n_heads)):
        if not 0 <= place < n:
            raise ValueError(f"explorer(): {what}={place} is not among the {n} there are; the first is 0.")
    causal = not any(np.triu(table, 1).any() for table in maps)
    left_out = []
    packed = [pack(table, causal) for table in maps]
    if causal and layers_that_fit(packed) < n_layers:
        if max(map(len, tokens)) > SHORT:
            left_out.append(f"the first {SHORT} tokens")
        tokens = [words[:SHORT] for words in tokens]
        packed = [pack(table[:, :, :SHORT, :SHORT], causal) for table in maps]
    layers = evenly(n_layers, layers_that_fit(packed), layer)
    if len(layers) < n_layers:
        left_out.append(f"layers {', '.join(map(str, layers))} of {n_layers}")
    texts = [
        {"tokens": list(map(str, words)), "weights": base64.b64encode(table[layers].tobytes()).decode("ascii")}
        for words, table in zip(tokens, packed, strict=True)
    ]
    html = explorer_html(
        "attention",
        title,
        sentences=sentences,
        layers=layers,
        layer=layer,
        head=head,
        left_out=left_out,
        data={"causal": causal, "heads": n_heads, "query": len(tokens[0]) - 1, "sentences": texts},
    )
    display_bundle({"text/html": html, "text/plain": f"[{title}: {len(sentences)} sentences, {n_layers} layers]"})


def checked(sentences: Sequence[str], tokens: Sequence[Sequence[str]], weights: Sequence[Any]) -> list[Weights]:
    """Return the weights as arrays, after checking that their shapes match the tokens and each other."""
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
    return arrays


def pack(weights: Weights, causal: bool) -> UInt8[np.ndarray, "layers heads cells"]:
    """Pack weights as round(255 sqrt(w)), one byte each, row by row; leave out the future if the model is causal."""
    n = weights.shape[-1]
    cells = np.tri(n, dtype=bool) if causal else np.ones((n, n), dtype=bool)
    return np.round(255 * np.sqrt(weights[:, :, cells].clip(0, 1))).astype(np.uint8)


def layers_that_fit(packed: Sequence[UInt8[np.ndarray, "layers heads _"]]) -> int:
    """Return the number of layers, each with all its heads and sentences, that fit into an explorer."""
    layer = sum(weights[0].size for weights in packed) * 4 / 3  # base64
    return int((LIMIT - BESIDES) // layer)


def evenly(n: int, count: int, always: int) -> list[int]:
    """Choose `count` evenly spaced numbers below n, with one moved so that `always` is among them."""
    if count < 1:
        raise ValueError(
            f"explorer(): one layer exceeds {LIMIT // 1000} KB on the page; pass fewer or shorter sentences."
        )
    chosen = np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(int))
    chosen[np.abs(chosen - always).argmin()] = always
    return chosen.tolist()
