"""The router explorer: which tokens of a text each expert takes, in the layer that the reader chooses."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from course_lib.show.display import display_bundle
from course_lib.show.explorers import explorer_html

Choices = tuple[Int[Tensor, "_ top_k"], Float[Tensor, "_ top_k"]]  # texts differ in length


def router_explorer(
    texts: Sequence[str],
    tokens: Sequence[Sequence[str]],
    choices: Sequence[Sequence[Choices]],
    *,
    n_experts: int,
    title: str = "Which expert takes which token?",
) -> None:
    """Show which experts take each token of a text, and which tokens an expert takes, in each layer.

    Args:
        texts: The names of the texts.
        tokens: The tokens of each text, as text.
        choices: For each text and each layer, the experts of its tokens, best first, and their weights; the last two
            fields of the model's `Routing`.
        n_experts: The number of experts in a layer.
        title: A heading for the explorer.

    Raises:
        ValueError: If tokens and choices do not match, or the HTML exceeds 300 KB.
    """
    if not texts or not len(texts) == len(tokens) == len(choices):
        raise ValueError("router_explorer() needs a list of tokens and a list of layers for each text.")
    n_layers = len(choices[0])
    held = []
    for name, words, layers in zip(texts, tokens, choices, strict=True):
        if len(layers) != n_layers or any(len(experts) != len(words) for experts, _ in layers):
            raise ValueError(f"router_explorer(): the choices do not fit the {len(words)} tokens of {name!r}.")
        rows = [
            [[e.tolist(), [round(w, 2) for w in weight.tolist()]] for e, weight in zip(*layer, strict=True)]
            for layer in layers
        ]
        held.append({"tokens": list(map(str, words)), "layers": rows})
    html = explorer_html(
        "router",
        title,
        texts=texts,
        layers=[str(i + 1) for i in range(n_layers)],
        experts=[str(i + 1) for i in range(n_experts)],
        data={"texts": held},
    )
    plain = f"[{title}: {len(texts)} texts, {n_layers} layers, {n_experts} experts]"
    display_bundle({"text/html": html, "text/plain": plain})
