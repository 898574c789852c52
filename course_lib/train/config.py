"""How a run is made: everything that decides about its numbers, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

CHOICES = {
    "schedule": ("cosine", "wsd", "constant"),
    "optimizer": ("adamw", "muon"),
    "precision": ("fp32", "bf16", "auto"),
}


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
        if self.steps < 1 or self.accumulate < 1 or self.lr <= 0:
            raise ValueError(
                f"steps ({self.steps}) and accumulate ({self.accumulate}) must be at least 1, lr ({self.lr}) above 0"
            )
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay={self.decay} must be a share of the steps, above 0 and at most 1")
