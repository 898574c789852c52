"""The tokenizer explorer: a text as coloured tokens, after as many merges of byte-pair encoding as the reader likes.

The only explorer with two forms: in a notebook it cuts texts with the reader's own Python, on a page with JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets

from course_lib.show.display import display_bundle
from course_lib.show.explorers import ENVIRONMENT, explorer_html

LONGEST = 400  # characters that a reader may type

Cut = Callable[[str, int], Sequence[int]]
Pair = tuple[int, int]


def tokenizer_explorer(
    texts: Sequence[str],
    merges: Sequence[Sequence[int]],
    cut: Cut,
    *,
    pattern: str,
    title: str = "From bytes to tokens",
    start: int | None = None,
) -> None:
    """Show how a text, one of `texts` or the reader's own, is merged into tokens one pair at a time.

    Args:
        texts: The texts to choose from.
        merges: The pairs of earlier tokens that become tokens 256, 257, ...; the first 256 tokens are the bytes.
        cut: Function that is called in a notebook as cut(text, n) and returns the ids of the text after the first n
            merges.
        pattern: A regular expression that matches the pieces within which tokens are merged. It is used on a page,
            where there is no Python, so it must also be valid in JavaScript with the flag "u".
        title: A heading for the explorer.
        start: The number of merges that is shown first; all of them by default.

    Raises:
        ValueError: If there is no text, a merge uses tokens that do not exist yet, or `start` is out of range.
    """
    pairs = [(int(left), int(right)) for left, right in merges]
    start = len(pairs) if start is None else start
    if not texts:
        raise ValueError("tokenizer_explorer() needs a text to begin with.")
    for new, pair in enumerate(pairs, 256):
        if not 0 <= min(pair) <= max(pair) < new:
            raise ValueError(
                f"tokenizer_explorer(): token {new} would merge {pair}, which are not both earlier tokens."
            )
    if not 0 <= start <= len(pairs):
        raise ValueError(f"tokenizer_explorer(): start={start} is not among 0 to {len(pairs)} merges.")
    html = explorer_html(
        "tokenizer",
        title,
        names=[shortened(text) for text in texts],
        longest=LONGEST,
        start=start,
        data={"texts": list(texts), "merges": pairs, "pattern": pattern},
    )
    view = widgets(texts, pairs, cut, title, start)._repr_mimebundle_()
    display_bundle({**view, "text/html": html, "text/plain": f"[{title}: {len(texts)} texts, {len(pairs)} merges]"})


def shortened(text: str) -> str:
    """Shorten a text for the list to choose from."""
    return text if len(text) <= 40 else text[:39].rstrip() + " …"


def widgets(texts: Sequence[str], merges: Sequence[Pair], cut: Cut, title: str, start: int) -> ipywidgets.VBox:
    """Build the widgets: the texts to choose from, a text to type, the number of merges, and the resulting tokens."""
    wide = ipywidgets.Layout(width="34em", max_width="100%")
    options = [(shortened(text), text) for text in texts]
    pick = ipywidgets.Dropdown(options=options, index=0, description="Text", layout=wide)
    own = ipywidgets.Textarea(texts[0], description="Your own", rows=2, layout=wide)
    number = ipywidgets.IntSlider(start, 0, len(merges), description="Merges", layout=wide)
    view = ipywidgets.HTML()
    tokens = spelled(merges)

    def redraw(*_: Any) -> None:
        text = own.value[:LONGEST]
        view.value = drawn(text, cut(text, number.value), tokens, merges, number.value)

    redraw()
    ipywidgets.dlink((pick, "value"), (own, "value"))
    own.observe(redraw, "value")
    number.observe(redraw, "value")
    return ipywidgets.VBox([ipywidgets.HTML(f"<strong>{escape(title)}</strong>"), pick, own, number, view])


def spelled(merges: Sequence[Pair]) -> list[bytes]:
    """Return the bytes of every token."""
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


def visible(token: bytes) -> str:
    """Return a token as text, with visible white space, and U+FFFD where its bytes are only part of a character."""
    text = token.decode("utf-8", errors="replace")
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")


def drawn(text: str, ids: Sequence[int], tokens: Sequence[bytes], merges: Sequence[Pair], n: int) -> str:
    """Render the sentence and the tokens after n merges as HTML, as tokenizer.js does."""
    size = len(text.encode())
    said = f"{len(text)} characters, {size} bytes, {len(ids)} tokens: {size / max(len(ids), 1):.2f} bytes a token. "
    new = 255 + n
    if n:
        left, right = merges[n - 1]
        parts = f"“{visible(tokens[left])}” + “{visible(tokens[right])}”"
        said += f"Merge {n}: {parts} became token {new}, “{visible(tokens[new])}”."
    else:
        said += "Nothing is merged yet: each byte is a token."
    chips = [(i, visible(tokens[i]), tokens[i].hex(" ")) for i in ids]
    return ENVIRONMENT.get_template("tokenizer_live.html").render(said=said, new=new if n else None, tokens=chips)
