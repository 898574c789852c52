"""How a run is made: everything that decides about its numbers, in one frozen object."""

from __future__ import annotations

import sys
from dataclasses import dataclass

CHOICES = {
    "schedule": ("cosine", "wsd", "constant"),
    "optimizer": ("adamw", "muon"),
    "precision": ("fp32", "bf16", "auto"),
}
TINY, HUGE = sys.float_info.min, sys.float_info.max
RANGES = {"lr": (TINY, HUGE), "weight_decay": (0, HUGE), "min_lr": (0, 1), "decay": (TINY, 1), "clip": (TINY, HUGE)}


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the defaults suit models of a few million parameters.

    steps: updates. lr: the peak. warmup: steps of linear rise. schedule: "cosine", "constant", or "wsd" (warm-up,
    stable, decay), which falls during the last share `decay` of the steps. min_lr: the end, as a share of lr.
    optimizer: "adamw", or "muon" for the matrices of the blocks and AdamW for all else.
    clip: the largest norm of the gradient, None for no limit.
    accumulate: batches to a step, whose gradients are those of one large batch. seed: of the batches.
    precision: of the matrix products: "bf16" keeps weights, optimizer and losses in float32; "auto" takes bf16 where
    it is measured to be faster. compile: with torch.compile, where that works.
    Raises ValueError with a sentence for anything that cannot be run.
    """

    steps: int
    lr: float = 1e-3
    warmup: int = 50
    schedule: str = "cosine"
    min_lr: float = 0.1
    decay: float = 0.2
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float | None = 1.0
    accumulate: int = 1
    precision: str = "fp32"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f'{name}="{getattr(self, name)}" is not supported; use one of {", ".join(choices)}')
        for name, least in (("steps", 1), ("accumulate", 1), ("warmup", 0), ("seed", 0)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number, at least {least}")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None and name == "clip":
                continue
            if not isinstance(value, int | float) or not low <= value <= high:
                above = "above 0" if low == TINY else f"at least {low}"
                raise ValueError(
                    f"{name}={value!r} must be a number {above}" + (f", at most {high}" if high == 1 else "")
                )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must be two numbers from 0 on, below 1")
