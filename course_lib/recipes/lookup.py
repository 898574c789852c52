"""The lookup of chapter 1 for the first page: two small models, trained, rounded to whole numbers, and written as JSON.

    .venv/bin/python -m course_lib.recipes.lookup      # 20 CPU-seconds; writes book/models/lookup/lookup.json

One model fetches with attention, the other sees a plain average of the same values. They are the models of the lab
`ch01_attention`, and `book/_static/lookup.js` runs them in the reader's browser.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.checkout import commit_of, find_checkout
from course_lib.data.worlds.recall import AssociativeRecall
from course_lib.files import write_text
from course_lib.train import TrainConfig, train

COMMAND = ".venv/bin/python -m course_lib.recipes.lookup"
FILE = Path("book") / "models" / "lookup" / "lookup.json"
WORLD = AssociativeRecall()
WIDTH = 32
STEPS = {"attention": 300, "average": 600}  # the average gets twice as many, and it does not help


class Lookup(nn.Module):
    """One layer that mixes the tokens, read out at the last one, which is the letter that is asked for.

    Each token comes with the token before it, so that a number knows its letter.

    Args:
        attends: Whether the tokens are mixed by attention; otherwise all get the same weight.
    """

    def __init__(self, attends: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORLD.vocab_size, WIDTH)
        self.query = nn.Linear(2 * WIDTH, WIDTH, bias=False) if attends else None
        self.key = nn.Linear(2 * WIDTH, WIDTH, bias=False) if attends else None
        self.value = nn.Linear(2 * WIDTH, WIDTH)
        self.answer = nn.Linear(WIDTH, WORLD.n_values)

    def forward(
        self, ids: Int[Tensor, "batch position"]
    ) -> tuple[Float[Tensor, "batch values"], Float[Tensor, "batch position"]]:
        """Return the logits of the answers, and the weights with which the last token looks at each token."""
        now = self.tokens(ids)
        x = torch.cat([now, F.pad(now[:, :-1], (0, 0, 1, 0))], dim=-1)
        scores = torch.zeros_like(x[..., 0])
        if self.query is not None and self.key is not None:
            scores = (self.key(x) @ self.query(x[:, -1:]).mT).squeeze(-1) / math.sqrt(WIDTH)
        weights = scores.softmax(dim=-1)
        return self.answer((weights[:, None] @ self.value(x)).squeeze(1)), weights


def trained(attends: bool, seed: int = 0) -> Lookup:
    """Train one of the two models, with the batches and the settings of the lab."""

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        questions = WORLD.sample(64, generator)
        return WORLD.tokens(questions), questions.target

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0])[0], batch[1])

    torch.manual_seed(seed)
    model = Lookup(attends)
    name = "attention" if attends else "average"
    train(model, batch, loss, TrainConfig(steps=STEPS[name], lr=3e-3, seed=seed), label=name)
    return model


@torch.no_grad()
def accuracy(model: Lookup, n: int = 10_000, seed: int = 1000) -> float:
    """Return the share of right answers to n new questions."""
    questions = WORLD.sample(n, torch.Generator().manual_seed(seed))
    answers = model(WORLD.tokens(questions))[0].argmax(dim=-1)
    return (answers == questions.target).double().mean().item()


def packed(model: Lookup) -> dict[str, dict[str, Any]]:
    """Round each tensor to whole numbers from -127 to 127 times a scale, one byte each."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        scale = tensor.abs().max().item() / 127
        whole = (tensor / scale).round().to(torch.int8).numpy()
        data = base64.b64encode(whole.tobytes()).decode("ascii")
        tensors[name] = {"shape": list(tensor.shape), "scale": float(f"{scale:.6g}"), "data": data}
    return tensors


def unpacked(tensors: Mapping[str, Mapping[str, Any]]) -> Lookup:
    """Return the model whose tensors `packed` has written."""
    model = Lookup("query.weight" in tensors)
    state = {}
    for name, packed in tensors.items():
        whole = np.frombuffer(base64.b64decode(packed["data"]), dtype=np.int8).reshape(packed["shape"])
        state[name] = torch.from_numpy(whole.astype(np.float32)) * packed["scale"]
    model.load_state_dict(state)
    return model


def main() -> None:
    """Train both models and write them, with what they reach before and after rounding."""
    torch.set_num_threads(1)
    root = find_checkout()
    models: dict[str, Any] = {}
    for name in STEPS:
        model = trained(attends=name == "attention")
        tensors = packed(model)
        models[name] = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "accuracy": accuracy(model),
            "accuracy_rounded": accuracy(unpacked(tensors)),
            "tensors": tensors,
        }
        print(f"{name}: {models[name]['accuracy']:.2%}, rounded {models[name]['accuracy_rounded']:.2%}")
    world = {"keys": WORLD.n_keys, "values": WORLD.n_values, "pairs": WORLD.n_pairs, "width": WIDTH}
    about = {"command": COMMAND, "commit": commit_of(root), "seed": 0, "licence": "MIT", "questions": 10_000}
    write_text(root / FILE, json.dumps({"about": about, "world": world, "models": models}, indent=1) + "\n")


if __name__ == "__main__":
    main()
