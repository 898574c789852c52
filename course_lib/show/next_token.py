"""The sampling explorer: what temperature, top-k, top-p and min-p do to the probabilities of the next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets
import numpy as np
from jaxtyping import Float, Int

from course_lib.show import live
from course_lib.show.charts import array
from course_lib.show.display import display_bundle, required_text
from course_lib.show.twin import choice, frame, slide

SHOWN = 15  # tokens with a bar of their own
EXACT = 200  # tokens whose logits the page has one by one, as many as the largest top-k needs
STEP = 0.05  # nats: the others go in groups of about the same logit

# What can be chosen, in the order of the sliders; None is off.
SETTINGS: dict[str, list[float | None]] = {
    "temperature": [i / 10 for i in range(21)],
    "top_k": [1, 2, 3, 5, 10, 20, 50, 100, 200, None],
    "top_p": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, None],
    "min_p": [None, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5],
}
START = {"temperature": 10, "top_k": 9, "top_p": 11, "min_p": 0}  # temperature 1 and nothing cut off
LABELS = "7em"  # room for the longest, "Text before it"
NOTE = '<p class="note">Outlined: temperature 1 and nothing cut off. Filled: as you chose.</p>'

Shares = Callable[..., Any]


@dataclass(frozen=True)
class Next:
    """One distribution: its name, its logits as they came, the places of its finite ones from the likeliest on."""

    name: str
    logits: Any
    order: Int[np.ndarray, " tokens"]
    sorted: Float[np.ndarray, " tokens"]
    tokens: list[str]  # the first SHOWN of them


def sampling_explorer(
    names: Sequence[str],
    logits: Sequence[Any],
    decode: Sequence[Callable[[int], str]],
    shares: Shares,
    *,
    title: str = "Which token comes next?",
) -> None:
    """Let the reader cut and reshape the probabilities of a next token, and see which tokens survive.

    names: what each distribution is called, such as its prompt. logits: for each of them Float "vocab".
    decode: for each, what gives the text of a token's id.
    shares: called live as shares(logits, temperature=, top_k=, top_p=, min_p=), None for off; gives Float "vocab".
    The page computes by the definitions of `infer.generation.sampling`, from 200 logits and the others in small groups.
    Raises ValueError when these do not fit each other, or logits are not numbers.
    """
    title = required_text(title, "An explorer")
    nexts = [sort(*one) for one in together(names, logits, decode)]
    controls = "\n".join(
        [
            choice("prompt", [one.name for one in nexts], 0, "Text before it"),
            *(slide(role, say(role), START[role], label(role)) for role in SETTINGS),
        ]
    )
    body = f"""<div class="controls">{controls}</div>
<p class="said" data-role="said" aria-live="polite"></p>
<ol class="bars" data-role="bars" aria-label="Probabilities of the next token"></ol>
{NOTE}"""
    data = {"settings": SETTINGS, "prompts": [packed(one) for one in nexts]}
    view = widgets(nexts, shares, title)._repr_mimebundle_()
    text = f"[{title}: {', '.join(one.name for one in nexts)}]"
    display_bundle({**view, "text/html": frame("sampling", title, body, data), "text/plain": text})


def together(names: Sequence[str], logits: Sequence[Any], decode: Sequence[Any]) -> Any:
    if not names or not len(names) == len(logits) == len(decode):
        raise ValueError(
            f"sampling_explorer() needs logits and a decoder for each name; got {len(names)} names, {len(logits)} "
            f"rows of logits and {len(decode)} decoders."
        )
    return zip(names, logits, decode, strict=True)


def sort(name: str, logits: Any, decode: Callable[[int], str]) -> Next:
    values = array(logits)
    if values.ndim != 1 or np.isnan(values).any() or not np.isfinite(values.max(initial=-np.inf)):
        raise ValueError(
            f"sampling_explorer(): the logits of {name!r}, of shape {values.shape}, are no row of numbers; pass those "
            "for one place, with no batch axis."
        )
    order = np.argsort(-values, kind="stable")[: int(np.isfinite(values).sum())]
    tokens = [visible(decode(int(i))) for i in order[:SHOWN]]
    return Next(str(name), logits, order, values[order], tokens)


def visible(token: str) -> str:
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "(nothing)"


def packed(one: Next) -> dict[str, Any]:
    """What the page holds: EXACT logits, then groups of neighbours as [how many, the logit of their mean share]."""
    rest = one.sorted[EXACT:]
    groups = np.split(rest, np.flatnonzero(np.diff(np.floor((rest - one.sorted[0]) / STEP))) + 1) if len(rest) else []
    means = [[len(group), round(float(np.log(np.exp(group - group[0]).mean()) + group[0]), 4)] for group in groups]
    return {"tokens": one.tokens, "logits": [round(float(value), 5) for value in one.sorted[:EXACT]], "groups": means}


def label(role: str) -> str:
    return role.replace("_", "-").capitalize()


def say(role: str) -> list[str]:
    return ["off" if value is None else f"{value:g}" for value in SETTINGS[role]]


def widgets(nexts: Sequence[Next], shares: Shares, title: str) -> ipywidgets.VBox:
    """The prompt, the four sliders, and the bars, computed by `shares`."""
    prompt = ipywidgets.Dropdown(
        options=[(one.name, i) for i, one in enumerate(nexts)],
        value=0,
        description="Text before it",
        style={"description_width": LABELS},
        layout=ipywidgets.Layout(**live.WIDE),
    )
    sliders = {role: live.pick(label(role), say(role), START[role], LABELS) for role in SETTINGS}

    def draw() -> str:
        one = nexts[prompt.value]
        settings = {role: SETTINGS[role][slider.value] for role, slider in sliders.items()}
        plain = dict.fromkeys(SETTINGS) | {"temperature": 1.0}
        before, after = (array(shares(one.logits, **chosen))[one.order] for chosen in (plain, settings))
        return drawn(one.tokens, before, after)

    return live.panel("sampling", title, [prompt, *sliders.values()], draw)


def drawn(tokens: Sequence[str], before: Float[np.ndarray, " n"], after: Float[np.ndarray, " n"]) -> str:
    """The sentence and the bars, as sampling.js draws them: `before` as an outline, `after` filled."""
    there = after[after > 0]
    bits = float(-(there * np.log2(there)).sum())
    rows = [(token, before[i], after[i]) for i, token in enumerate(tokens)]
    others = len(after) - len(tokens)
    if others:
        rows.append((f"{others:,} others", before[len(tokens) :].sum(), after[len(tokens) :].sum()))
    bars = "".join(
        f"<li{'' if now else ' class=out'}><span>{escape(name)}</span>"
        f'<i style="--before:{was:.4f};--now:{now:.4f}"></i>'
        f"<b>{f'{now:.1%}' if now else 'out'}</b></li>"
        for name, was, now in rows
    )
    return (
        f'<p class="said">{(after >= 1e-6).sum():,} of {len(after):,} tokens have a share of one in a million or more. '
        f'Entropy: {bits:.2f} bits, as in a fair choice among {2**bits:,.1f}.</p><ol class="bars">{bars}</ol>{NOTE}'
    )
