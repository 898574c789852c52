"""The settings of a training run: everything that affects its results, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.settings import check_choices, check_counts, check_numbers

CHOICES = {
    "schedule": ("cosine", "wsd", "constant"),
    "optimizer": ("adamw", "muon"),
    "precision": ("fp32", "bf16", "auto"),
}


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run; the defaults suit models of a few million parameters.

    Attributes:
        steps: The number of updates.
        lr: The peak learning rate.
        warmup_steps: The number of steps in which the learning rate rises linearly.
        schedule: "cosine", "constant", or "wsd" (warm-up, stable, decay), which falls at the end.
        min_lr_ratio: The learning rate that the schedule falls to after the last step, as a share of `lr`.
        decay_ratio: The share of the steps in which "wsd" falls.
        optimizer: "adamw", or "muon" for the matrices of the blocks and AdamW for everything else.
        weight_decay: Weight decay of matrices; gains and biases do not decay.
        betas: The betas of AdamW.
        max_grad_norm: The norm that the gradient is clipped to; None for no limit.
        gradient_accumulation_steps: Batches per step; the gradient is that of one large batch.
        precision: The number format of matrix products. "bf16" keeps weights, optimizer and losses in float32; "auto"
            takes bf16 if it is measured to be faster.
        compile: Whether to use torch.compile, if it works here.
        seed: The seed of the batches.

    Raises:
        ValueError: If a setting cannot be used; the message says which and why.
    """

    steps: int
    lr: float = 1e-3
    warmup_steps: int = 50
    schedule: str = "cosine"
    min_lr_ratio: float = 0.1
    decay_ratio: float = 0.2
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    max_grad_norm: float | None = 1.0
    gradient_accumulation_steps: int = 1
    precision: str = "fp32"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        check_counts(self, "steps", "gradient_accumulation_steps")
        check_counts(self, "warmup_steps", "seed", least=0)
        check_numbers(self, "lr", above=0)
        check_numbers(self, "weight_decay", least=0)
        check_numbers(self, "min_lr_ratio", least=0, most=1)
        check_numbers(self, "decay_ratio", above=0, most=1)
        if self.max_grad_norm is not None:
            check_numbers(self, "max_grad_norm", above=0)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must be two numbers from 0 on, below 1")
