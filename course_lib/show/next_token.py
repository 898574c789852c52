"""The sampling explorer: how temperature, top-k, top-p and min-p change the probabilities of the next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course_lib.show.charts import array
from course_lib.show.display import display_bundle
from course_lib.show.explorers import explorer_html

SHOWN = 15  # tokens with a bar of their own
EXACT = 200  # tokens whose logits are held one by one, as many as the largest top-k needs
STEP = 0.05  # nats: the others go in groups of about the same logit

# What can be chosen, in the order of the sliders; None is off.
SETTINGS: dict[str, list[float | None]] = {
    "temperature": [i / 10 for i in range(21)],
    "top_k": [1, 2, 3, 5, 10, 20, 50, 100, 200, None],
    "top_p": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, None],
    "min_p": [None, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5],
}
START = {"temperature": 10, "top_k": 9, "top_p": 11, "min_p": 0}  # temperature 1 and nothing cut off


def sampling_explorer(
    names: Sequence[str],
    logits: Sequence[Any],
    decode: Sequence[Callable[[int], str]],
    *,
    title: str = "Which token comes next?",
) -> None:
    """Let the reader truncate and reshape the probabilities of the next token, and see which tokens remain.

    The probabilities are computed as defined in `infer.generation.sampling`, from the 200 highest logits and from the
    others in small groups.

    Args:
        names: The name of each distribution, such as its prompt.
        logits: The logits of each distribution, Float "vocab".
        decode: For each distribution, the function that returns the text of a token's id.
        title: A heading for the explorer.

    Raises:
        ValueError: If their lengths differ, or logits are not numbers.
    """
    if not names or not len(names) == len(logits) == len(decode):
        raise ValueError(
            f"sampling_explorer() needs logits and a decoder for each name; got {len(names)} names, {len(logits)} "
            f"rows of logits and {len(decode)} decoders."
        )
    html = explorer_html(
        "sampling",
        title,
        names=names,
        settings={
            role: ["off" if value is None else f"{value:g}" for value in values] for role, values in SETTINGS.items()
        },
        start=START,
        data={"settings": SETTINGS, "prompts": list(map(distribution, names, logits, decode))},
    )
    display_bundle({"text/html": html, "text/plain": f"[{title}: {', '.join(names)}]"})


def distribution(name: str, logits: Any, decode: Callable[[int], str]) -> dict[str, Any]:
    """Return the data of one distribution for the explorer.

    Returns:
        The first SHOWN `tokens`, the EXACT highest `logits` in descending order, and `groups` of the others: neighbours
        as [their number, the logit of their mean probability].
    """
    values = array(logits)
    if values.ndim != 1 or np.isnan(values).any() or not np.isfinite(values.max(initial=-np.inf)):
        raise ValueError(
            f"sampling_explorer(): the logits of {name!r}, of shape {values.shape}, are no row of numbers; pass those "
            "for one place, with no batch axis."
        )
    order = np.argsort(-values, kind="stable")[: int(np.isfinite(values).sum())]
    falling = values[order]
    rest = falling[EXACT:]
    bounds = np.flatnonzero(np.diff(np.floor((rest - falling[0]) / STEP))) + 1
    groups = [
        [len(group), round(float(np.log(np.exp(group - group[0]).mean()) + group[0]), 4)]
        for group in np.split(rest, bounds)
        if len(group)
    ]
    return {
        "tokens": [visible(decode(int(token))) for token in order[:SHOWN]],
        "logits": falling[:EXACT].round(5).tolist(),
        "groups": groups,
    }


def visible(token: str) -> str:
    """Return a token with its white space made visible."""
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "(nothing)"
