"""The training loop of the course: AdamW, warm-up and cosine, clipping, and a stop at the first NaN."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.train.memory import keep_freed_memory


@dataclass(frozen=True)
class TrainConfig:
    """How to train. steps: updates; lr: the peak; warmup: steps of linear rise; min_lr: the end, as a share of lr.

    schedule: "cosine" or "constant". clip: the largest gradient norm, None for no limit. seed: of the batches.
    Raises ValueError with a sentence for anything that cannot be run.
    """

    steps: int
    lr: float = 1e-3
    warmup: int = 50
    schedule: str = "cosine"
    min_lr: float = 0.1
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float | None = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "constant"):
            raise ValueError(f'schedule="{self.schedule}" is not supported; use "cosine" or "constant"')
        if self.steps < 1 or self.lr <= 0:
            raise ValueError(f"steps ({self.steps}) must be at least 1 and lr ({self.lr}) above 0")


@dataclass
class History:
    """What happened: one entry per step, the CPU seconds of the whole run, and whether the reader stopped it."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    interrupted: bool = False


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is NaN or infinite. The model has the weights from before that step; see `history`."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of step 0, 1, ...: a linear rise, then half a cosine down to min_lr (Loshchilov and Hutter 2016)."""
    rate = config.lr * min(1.0, (step + 1) / max(1, config.warmup))
    if config.schedule == "cosine":
        progress = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
        rate *= config.min_lr + (1 - config.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
    return rate


def adamw(parameters: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2017) in its fused form; matrices decay, gains and biases do not."""
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, fused=True)


def train(
    model: nn.Module,
    batch: Callable[[torch.Generator], Any],
    loss: Callable[[nn.Module, Any], Tensor],
    config: TrainConfig,
    label: str = "training",
) -> History:
    """Train `model` in place: at each step loss(model, batch(generator)) goes down a little.

    The generator is seeded by `config.seed` and used for batches alone, so every model sees the same ones. An interrupt
    (Ctrl-C, or the stop button of a notebook) ends the run early, with a sentence, and keeps what was learned.
    Raises TrainingDiverged before a NaN or infinite loss or gradient can touch the weights.
    """
    keep_freed_memory()
    optimizer = adamw(model.parameters(), config)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    generator = torch.Generator().manual_seed(config.seed)
    history = History()
    start = time.process_time()
    model.train()
    optimizer.zero_grad(set_to_none=True)  # of whatever the reader differentiated before
    try:
        with tqdm(range(config.steps), desc=label, delay=1.0, mininterval=0.5) as bar:  # no bar for what is quick
            for step in bar:
                rate = learning_rate(step, config)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                value = loss(model, batch(generator))
                value.backward()
                norm = nn.utils.clip_grad_norm_(parameters, config.clip or math.inf)
                number, size = torch.stack((value.detach(), norm)).tolist()  # one wait for the device, not two
                if not math.isfinite(number + size):
                    raise TrainingDiverged(_diverged(label, step, number, size, rate), history)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)  # here, so that no gradient takes memory during the forward pass
                history.step.append(step)
                history.loss.append(number)
                history.lr.append(rate)
                bar.set_postfix_str(f"loss {number:.3f}", refresh=False)
    except KeyboardInterrupt:
        history.interrupted = True
        print(f"{label}: stopped after {len(history.step)} of {config.steps} steps; the model keeps what it learned.")
    history.cpu_seconds = time.process_time() - start
    return history


def _diverged(label: str, step: int, loss: float, norm: float, rate: float) -> str:
    if not math.isfinite(loss) and step == 0:
        hint = "Nothing was learned yet, so look at the model and the data: a logarithm of 0, a row masked entirely?"
    else:
        hint = "Try a third of the learning rate, a longer warm-up, or clip=1.0 if it was off."
    return f"{label}: at step {step} the loss is {loss:g}, its gradient's norm {norm:g}, the rate {rate:g}. {hint}"
