"""The tokenizer explorer: a text as coloured tokens, after as many merges of byte-pair encoding as the reader likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets

from course_lib.show import live
from course_lib.show.display import display_bundle, required_text
from course_lib.show.twin import choice, frame

LONGEST = 400  # characters that a reader may type

NOTE = (
    '<p class="note">Each token with its number and its bytes. ␣ is a space, � a part of a character; '
    "a frame marks the token that the last merge made.</p>"
)

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
    """Let the reader merge a text one pair at a time, one of `texts` or one of their own.

    merges: pairs of earlier tokens that become tokens 256, 257, ...; the first 256 tokens are the bytes.
    cut: called live as cut(text, n), the ids of the text after the first n merges. The page merges by itself, in the
    pieces that `pattern` finds: a regular expression that JavaScript with its flag "u" also reads.
    start: the number of merges that is shown first; all of them by default.
    Raises ValueError for no text, and for merges of tokens that are not there yet.
    """
    title = required_text(title, "An explorer")
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
    body = f"""<div class="controls">
{choice("text", [named(text) for text in texts], 0)}
<label class="own">Or your own <textarea data-role="own" rows="2" maxlength="{LONGEST}" autocomplete="off"
spellcheck="false">{escape(texts[0])}</textarea></label>
<label class="slide"><span>Merges <b aria-hidden="true">{start}</b></span><input type="range" data-role="merges" min="0"
max="{len(pairs)}" value="{start}" autocomplete="off"></label>
<button type="button" data-role="less" aria-label="−1 merge">−1</button>
<button type="button" data-role="more" aria-label="+1 merge">+1</button>
</div>
<p class="said" data-role="said" aria-live="polite"></p>
<ol class="tokens" data-role="tokens" aria-label="The tokens, each with its id and its bytes"></ol>
{NOTE}"""
    html = frame("tokenizer", title, body, {"texts": list(texts), "merges": pairs, "pattern": pattern})
    view = widgets(texts, pairs, cut, title, start)._repr_mimebundle_()
    display_bundle({**view, "text/html": html, "text/plain": f"[{title}: {len(texts)} texts, {len(pairs)} merges]"})


def named(text: str) -> str:
    return text if len(text) <= 40 else text[:39].rstrip() + " …"


def widgets(texts: Sequence[str], merges: Sequence[Pair], cut: Cut, title: str, start: int) -> ipywidgets.VBox:
    """The texts to choose from, the text to type in, and the number of merges."""
    wide = ipywidgets.Layout(**live.WIDE)
    pick = ipywidgets.Dropdown(
        options=[(named(text), i) for i, text in enumerate(texts)], value=0, description="Text", layout=wide
    )
    own = ipywidgets.Textarea(texts[0], description="Your own", rows=2, layout=wide)
    number = ipywidgets.IntSlider(start, 0, len(merges), description="Merges", layout=wide)
    tokens = spelled(merges)

    def choose(change: Any) -> None:
        own.value = texts[change.new]

    def draw() -> str:
        text = own.value[:LONGEST]
        return drawn(text, cut(text, number.value), tokens, merges, number.value)

    pick.observe(choose, "value")
    box = live.panel("tokenizer", title, [own, number], draw)
    heading, *rest = box.children
    box.children = [heading, pick, *rest]
    return box


def spelled(merges: Sequence[Pair]) -> list[bytes]:
    """The bytes of every token."""
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


def visible(token: bytes) -> str:
    """A token as text, with its white space to be seen, and a mark where its bytes are only a part of a character."""
    text = token.decode("utf-8", errors="replace")
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")


def drawn(text: str, ids: Sequence[int], tokens: Sequence[bytes], merges: Sequence[Pair], n: int) -> str:
    """The sentence and the tokens, as tokenizer.js draws them."""
    size = len(text.encode())
    said = f"{len(text)} characters, {size} bytes, {len(ids)} tokens: {size / max(len(ids), 1):.2f} bytes a token. "
    if n:
        left, right = merges[n - 1]
        parts = f"“{visible(tokens[left])}” + “{visible(tokens[right])}”"
        said += f"Merge {n}: {parts} became token {255 + n}, “{visible(tokens[255 + n])}”."
    else:
        said += "Nothing is merged yet: each byte is a token."
    chips = "".join(
        f"<li{' class=new' if n and i == 255 + n else ''}><b>{escape(visible(tokens[i]))}</b><span>{i}</span>"
        f"<small>{tokens[i].hex(' ')}</small></li>"
        for i in ids
    )
    return f'<p class="said">{escape(said)}</p><ol class="tokens">{chips}</ol>{NOTE}'
