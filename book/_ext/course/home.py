"""The first page: `{lookup}`, the lookup model of chapter 1, and `{continue}`, the way back to where the reader was.

The models are those of `course_lib.recipes.lookup`, rounded to whole numbers. One case is drawn here, and `lookup.js`
brings it to life. The page holds the models as JSON, so that it works from a disk too.
"""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FILE = Path("book") / "models" / "lookup" / "lookup.json"
LETTERS = "abcdefghijklmnop"
CASE = ((5, 11), (1, 3), (12, 7), (8, 14), (3, 0), (14, 9), (6, 5), (10, 2))  # letter and number of each pair
ASKED = 5  # the pair whose letter is asked for


class Reading(NamedTuple):
    """What a model makes of a row: its logits, and the weight of each token."""

    logits: np.ndarray
    weights: np.ndarray


def tensors(model: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.frombuffer(base64.b64decode(held["data"]), dtype=np.int8).reshape(held["shape"]) * held["scale"]
        for name, held in model["tensors"].items()
    }


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def read(model: dict[str, Any], ids: list[int]) -> Reading:
    """Run a model on a row of tokens; `read` in `lookup.js` does the same."""
    held = tensors(model)
    now = held["tokens.weight"][ids]
    x = np.concatenate([now, np.vstack([np.zeros_like(now[:1]), now[:-1]])], axis=1)
    scores = np.zeros(len(ids))
    if "query.weight" in held:
        scores = x @ held["key.weight"].T @ (held["query.weight"] @ x[-1]) / np.sqrt(len(held["query.weight"]))
    weights = softmax(scores)
    mixed = weights @ (x @ held["value.weight"].T + held["value.bias"])
    return Reading(held["answer.weight"] @ mixed + held["answer.bias"], weights)


class LookupDirective(SphinxDirective):
    """Both models on one case, and the data for the script."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / FILE
        self.env.note_dependency(str(path))
        held = json.loads(path.read_text(encoding="utf8"))
        return [nodes.raw("", html(held), format="html")]


def html(held: dict[str, Any]) -> str:
    """The figure with its controls, still without life: `lookup.js` switches the buttons on."""
    ids = [token for letter, number in CASE for token in (letter, held["world"]["keys"] + number)] + [CASE[ASKED][0]]
    letter, right = LETTERS[CASE[ASKED][0]], CASE[ASKED][1]
    rows = {name: row(name, read(model, ids), right) for name, model in held["models"].items()}
    size = held["models"]["attention"]["parameters"]
    data = json.dumps({"world": held["world"], "models": {n: m["tensors"] for n, m in held["models"].items()}})
    return f"""<figure class="lookup" aria-labelledby="lookup-title">
<p class="lookup-title" id="lookup-title">Which number stands below <strong class="lookup-asked">{letter}</strong>?</p>
<p class="lookup-how"><span class="lookup-live">Click a letter to ask for its number.</span>
Each box is a letter and its number. The bluer, the more the model looks there.</p>
{rows["attention"]}
{rows["average"]}
<div class="lookup-controls" hidden><button type="button" class="lookup-new">New row</button>
<p class="lookup-score" role="status"></p></div>
<figcaption>Two real models. The upper one has {size:,} numbers, found by training, and runs in this page.
You will write its attention yourself, in the first lab.</figcaption>
<script type="application/json">{data}</script>
</figure>
"""


def row(name: str, reading: Reading, right: int) -> str:
    """One model on the case: its boxes, shaded by the weights, and its answer."""
    title = {"attention": "With attention", "average": "With a plain average"}[name]
    boxes = []
    for pair, (letter, number) in enumerate(CASE):
        cells = [
            f'<span class="lookup-cell" style="--weight: {weight:.3f}">{text}</span>'
            for text, weight in zip((LETTERS[letter], number), reading.weights[2 * pair : 2 * pair + 2], strict=True)
        ]
        if name == "attention":
            pressed = str(pair == ASKED).lower()
            cells[0] = f'<button type="button" disabled aria-pressed="{pressed}"{cells[0].removeprefix("<span")}'
            cells[0] = cells[0].removesuffix("</span>") + "</button>"
        boxes.append(f"<li>{''.join(cells)}</li>")
    chances = softmax(reading.logits)
    answer = int(chances.argmax())
    verdict = "right" if answer == right else "wrong"
    return (
        f'<div class="lookup-model {name}"><p class="lookup-name">{escape(title)}</p>'
        f'<ol class="lookup-row" aria-label="{escape(title)}: letters and numbers">{"".join(boxes)}</ol>'
        f'<p class="lookup-answer {verdict}"><span class="lookup-says">says <b>{answer}</b>, {chances[answer]:.0%} sure'
        f'</span> <span class="lookup-verdict">{verdict}</span></p></div>'
    )


class ContinueDirective(SphinxDirective):
    """Where the reader was last, known only to the browser: `nav.js` fills it in and shows it."""

    def run(self) -> list[nodes.Node]:
        link = '<a href="#">Continue</a> <span>with <span class="continue-where"></span></span>'
        forget = '<button type="button">Forget what I did here</button>'
        return [nodes.raw("", f'<div class="continue" hidden>{link}{forget}</div>', format="html")]


def add_files(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Add style and script to the pages that have a use for them."""
    if 'class="lookup"' in context.get("body", ""):
        app.add_css_file("home.css")
        app.add_js_file("lookup.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    app.add_directive("lookup", LookupDirective)
    app.add_directive("continue", ContinueDirective)
    app.connect("html-page-context", add_files)
