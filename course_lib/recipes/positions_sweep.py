"""The learning rates of the lab on positions: each model is trained at several, and has its own best.

    course train positions --preset cpu --seed 100     # and again with --seed 101; about 8 CPU-minutes each

The models are those of `labs/ch01_positions`: small GPTs that differ in the position encoding alone, and the one with
RoPE fine-tuned on longer windows, with and without position interpolation. They are scored at the length they were
trained with last, on held-out articles on which the lab does not report.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.data.corpora.wikipedia import lowercase_wikipedia_text, sample_windows
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.measure import committed_run
from course_lib.models import GPT, GPTConfig
from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.positions import rotate
from course_lib.nn.storage import device_of
from course_lib.preset import Preset
from course_lib.recipes.rates import best_rate, mean_losses, rate_text, rates_of
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig, next_token_loss, train

LENGTH = 64  # of the windows to train on
LONGER = 4 * LENGTH  # of those for the arm that trains on long ones
STRETCHED = 2 * LENGTH  # of those to fine-tune on
LONGEST = 512  # of the windows that the lab reports on
TAIL = 32  # characters scored at the end of a window
SEEDS = (100, 101)  # of the runs by which the rates were chosen; no seed of the course's replications
ARMS = {name: LENGTH for name in ("rope", "alibi", "t5", "sinusoidal", "learned", "none")} | {"rope-256": LONGER}
FACTORS = {"fine-tuned only": 1, "interpolated and fine-tuned": 2}  # by which RoPE's positions are divided


@dataclass(frozen=True)
class PositionsPlan:
    """The sizes of a run.

    Attributes:
        model: Settings of the model; the vocabulary comes from the text, the encoding from the arm.
        steps: The number of training steps.
        batch: The number of windows of 64 characters in a step; long windows are as many fewer as they are longer.
        rates: The learning rates tried with every arm.
        more: Further rates of an arm whose best was at an end of those.
        tuning: Settings of the fine-tuning.
        tuning_rates: The learning rates tried with both fine-tunings.
    """

    model: dict[str, int]
    steps: int
    batch: int
    rates: tuple[float, ...]
    more: Mapping[str, tuple[float, ...]]
    tuning: TrainConfig
    tuning_rates: tuple[float, ...]


MORE = dict.fromkeys(("alibi", "t5", "sinusoidal"), (32e-3, 64e-3))
PRESETS = {
    "cpu": PositionsPlan(
        {"d_model": 48, "n_layers": 2, "n_heads": 4},
        steps=400,
        batch=32,
        rates=(2e-3, 4e-3, 8e-3, 16e-3),
        more=MORE,
        tuning=TrainConfig(60, warmup_steps=5),
        tuning_rates=(3e-4, 1e-3, 3e-3, 9e-3, 27e-3),
    ),
    "gpu": PositionsPlan(
        {"d_model": 256, "n_layers": 4, "n_heads": 8},
        steps=2000,
        batch=128,
        rates=(5e-4, 1e-3, 2e-3, 4e-3),
        more={},
        tuning=TrainConfig(200, warmup_steps=5),
        tuning_rates=(1e-4, 3e-4, 1e-3),
    ),
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
    return f"positions.sweep.{arm.replace(' ', '-')}.{rate_text(rate)}"


def losses_by_rate(size: Preset = "cpu") -> dict[str, dict[float, float]]:
    """Return the loss of each encoding at each learning rate, the mean over the committed runs.

    Raises:
        DataError: If they have not been committed.
    """
    runs = [committed_run("positions", seed, size=size) for seed in SEEDS]
    return mean_losses(runs, {arm: rates_of(PRESETS[size], arm) for arm in ARMS}, number_key)


def best_rates(size: Preset = "cpu") -> dict[str, float]:
    """Return the learning rate of each encoding with the lowest loss in the committed runs.

    Raises:
        DataError: If they have not been committed.
    """
    return {arm: best_rate(losses) for arm, losses in losses_by_rate(size).items()}


def loss_at(arm: str, rate: float, texts: TextsByLength, plan: PositionsPlan, run: Run) -> float:
    """Train one model and return its validation loss at the length that it was trained with."""
    return validation_loss(encoding(arm, rate, texts, plan, run), ARMS[arm], texts)


def validation_loss(model: GPT, length: int, texts: TextsByLength) -> float:
    """Compute the mean loss on the validation articles, cut to their last characters."""
    return tail_loss(model, texts.validation[:, -length - 1 :]).mean().item()


def encoding(arm: str, rate: float, texts: TextsByLength, plan: PositionsPlan, run: Run) -> GPT:
    """Train one model from scratch."""
    settings: dict[str, Any] = {**plan.model, "context": ARMS[arm], "position": arm.partition("-")[0]}
    torch.manual_seed(run.seed)
    model = GPT(GPTConfig(texts.tokenizer.vocab_size, **settings)).to(run.device)
    config = TrainConfig(run.steps or plan.steps, lr=rate, seed=run.seed)
    learn(model, ARMS[arm], config, texts, plan, f"{arm} {rate:g}")
    return model


def learn(model: GPT, length: int, config: TrainConfig, texts: TextsByLength, plan: PositionsPlan, label: str) -> None:
    """Train a model on windows of a length; the longer they are, the fewer are in a batch."""

    def batch(generator: torch.Generator) -> Tensor:
        windows = sample_windows(texts.train, length, plan.batch * LENGTH // length, generator)
        return windows.to(device_of(model))

    train(model, batch, next_token_loss, config, label=label)


def interpolated(model: GPT, factor: float) -> GPT:
    """Return a copy of a model with RoPE that divides all positions by a factor.

    Source: Chen et al. 2023 (position interpolation).
    """
    copy = deepcopy(model)

    def turn(x: Tensor, *_: Tensor) -> Tensor:  # the angles of whole positions go unused
        n, d = x.shape[-2:]
        frequency = model.config.rope_theta ** (-torch.arange(0, d, 2, device=x.device) / d)
        angle = torch.arange(n, device=x.device)[:, None] / factor * frequency
        return rotate(x, angle.cos(), angle.sin())

    for module in copy.modules():
        if isinstance(module, MultiHeadAttention):
            module.rotate = turn
    return copy


def tuned_loss(base: GPT, arm: str, rate: float, texts: TextsByLength, plan: PositionsPlan, run: Run) -> float:
    """Fine-tune a copy of the model with RoPE and return its validation loss at the length of the fine-tuning."""
    model = interpolated(base, FACTORS[arm])
    config = replace(plan.tuning, steps=run.steps or plan.tuning.steps, lr=rate, seed=run.seed + 1)
    learn(model, STRETCHED, config, texts, plan, f"{arm} {rate:g}")
    return validation_loss(model, STRETCHED, texts)


def positions(run: Run) -> Results:
    """Train every encoding at each of its learning rates, and fine-tune RoPE at its best; no model is kept."""
    plan = run.choose(PRESETS)
    values = run.measured_so_far((plan, ARMS, FACTORS))
    texts = wikipedia_by_length()
    grid = {number_key(arm, rate): (arm, rate) for arm in ARMS for rate in rates_of(plan, arm)}
    run.measure_each(values, grid, lambda task: loss_at(*task, texts, plan, run))
    best = best_rate({rate: values[number_key("rope", rate)] for rate in rates_of(plan, "rope")})
    base = encoding("rope", best, texts, plan, run)
    tunings = {number_key(arm, rate): (arm, rate) for arm in FACTORS for rate in plan.tuning_rates}
    run.measure_each(values, tunings, lambda task: tuned_loss(base, *task, texts, plan, run))
    return write_results(run, values, {})
