"""The learning rates of the lab on positions: each encoding is trained at several, and has its own best.

    course train positions --preset cpu --seed 100     # and again with --seed 101; about 8 CPU-minutes each

The models are those of `labs/ch01_positions`: small GPTs that differ in the position encoding alone. They are scored at
the length they were trained with, on held-out articles on which the lab does not report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.data.corpora.wikipedia import lowercase_wikipedia_text, sample_windows
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.measure import committed_run
from course_lib.models import GPT, GPTConfig
from course_lib.nn.storage import device_of
from course_lib.preset import Preset
from course_lib.recipes.rates import best_rate, mean_losses, rate_text, rates_of
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig, next_token_loss, train

LENGTH = 64  # of the windows to train on
LONGER = 4 * LENGTH  # of those for the arm that trains on long ones
LONGEST = 512  # of the windows that the lab reports on
TAIL = 32  # characters scored at the end of a window
SEEDS = (100, 101)  # of the runs by which the rates were chosen; no seed of the course's replications
ARMS = {name: LENGTH for name in ("rope", "alibi", "t5", "sinusoidal", "learned", "none")} | {"rope-256": LONGER}


@dataclass(frozen=True)
class PositionsPlan:
    """The sizes of a run.

    Attributes:
        model: Settings of the model; the vocabulary comes from the text, the encoding from the arm.
        steps: The number of training steps.
        batch: The number of windows of 64 characters in a step; long windows are as many fewer as they are longer.
        rates: The learning rates tried with every arm.
        more: Further rates of an arm whose best was at an end of those.
    """

    model: dict[str, int]
    steps: int
    batch: int
    rates: tuple[float, ...]
    more: Mapping[str, tuple[float, ...]]


MORE = dict.fromkeys(("alibi", "t5", "sinusoidal"), (32e-3, 64e-3))
PRESETS = {
    "cpu": PositionsPlan({"d_model": 48, "n_layers": 2, "n_heads": 4}, 400, 32, (2e-3, 4e-3, 8e-3, 16e-3), MORE),
    "gpu": PositionsPlan({"d_model": 256, "n_layers": 4, "n_heads": 8}, 2000, 128, (5e-4, 1e-3, 2e-3, 4e-3), {}),
}


class TextsByLength(NamedTuple):
    """Wikipedia's openings as characters: the part to train on, and two kinds of held-out articles.

    Attributes:
        tokenizer: The tokenizer of all.
        train: The first nine tenths of the text.
        validation: Held-out articles of 257 to 512 characters, cut to 257, for choosing the learning rates.
        test: Held-out articles that are longer, cut to 513, for the losses that the lab reports.
    """

    tokenizer: CharTokenizer
    train: Int[Tensor, " tokens"]
    validation: Int[Tensor, "articles 257"]
    test: Int[Tensor, "others 513"]


def wikipedia_by_length() -> TextsByLength:
    """Load the texts in lower case; the last tenth is held out.

    Raises:
        DataError: If they cannot be fetched.
    """
    text = lowercase_wikipedia_text()
    tokenizer = CharTokenizer.from_text(text)
    split = int(0.9 * len(text))
    articles = text[split:].splitlines()[1:]  # the first one may have begun before the split
    held_out = [
        torch.stack([tokenizer.encode(line[: low + 1]) for line in articles if low < len(line) <= high])
        for low, high in ((LONGER, LONGEST), (LONGEST, len(text)))
    ]
    return TextsByLength(tokenizer, tokenizer.encode(text[:split]), *held_out)


@torch.no_grad()
def tail_loss(
    model: GPT, sequences: Int[Tensor, "articles _"], mask: Tensor | None = None
) -> Float[Tensor, " articles"]:
    """Compute the loss on the last 32 characters of each sequence, in nats per character.

    Args:
        model: The model; it is set to eval mode.
        sequences: Token ids; the last one is only a target.
        mask: True where the query may attend to the key, on top of the causal mask; as in GPT.forward.
    """
    model.eval()
    losses = []
    for batch in sequences.to(device_of(model)).split(32):
        logits = model(batch[:, :-1], mask=mask)[:, -TAIL:]
        losses.append(F.cross_entropy(logits.transpose(1, 2), batch[:, -TAIL:], reduction="none").mean(1))
    return torch.cat(losses).cpu()


def number_key(arm: str, rate: float) -> str:
    """Return the key of a result of the sweep, such as "positions.sweep.rope.4e-3"."""
    return f"positions.sweep.{arm}.{rate_text(rate)}"


def losses_by_rate(size: Preset = "cpu") -> dict[str, dict[float, float]]:
    """Return the loss of each arm at each learning rate, the mean over the committed runs.

    Raises:
        DataError: If they have not been committed.
    """
    runs = [committed_run("positions", seed, size=size) for seed in SEEDS]
    return mean_losses(runs, {arm: rates_of(PRESETS[size], arm) for arm in ARMS}, number_key)


def best_rates(size: Preset = "cpu") -> dict[str, float]:
    """Return the learning rate of each arm with the lowest loss in the committed runs.

    Raises:
        DataError: If they have not been committed.
    """
    return {arm: best_rate(losses) for arm, losses in losses_by_rate(size).items()}


def loss_at(arm: str, rate: float, texts: TextsByLength, plan: PositionsPlan, run: Run) -> float:
    """Train one model and return its validation loss at the length that it was trained with."""
    length = ARMS[arm]
    settings: dict[str, Any] = {**plan.model, "context": length, "position": arm.partition("-")[0]}
    torch.manual_seed(run.seed)
    model = GPT(GPTConfig(texts.tokenizer.vocab_size, **settings)).to(run.device)

    def batch(generator: torch.Generator) -> Tensor:
        return sample_windows(texts.train, length, plan.batch * LENGTH // length, generator).to(run.device)

    config = TrainConfig(run.steps or plan.steps, lr=rate, seed=run.seed)
    train(model, batch, next_token_loss, config, label=f"{arm} {rate:g}")
    return tail_loss(model, texts.validation[:, -length - 1 :]).mean().item()


def positions(run: Run) -> Results:
    """Train every arm at each of its learning rates; no model is kept."""
    plan = run.choose(PRESETS)
    values = run.measured_so_far((plan, ARMS))
    texts = wikipedia_by_length()
    grid = {number_key(arm, rate): (arm, rate) for arm in ARMS for rate in rates_of(plan, arm)}
    run.measure_each(values, grid, lambda task: loss_at(*task, texts, plan, run))
    return write_results(run, values, {})
