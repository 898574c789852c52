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
        steps: The number of updates, of which the first `warmup_steps` are the warm-up.
        lr: The peak learning rate.
        warmup_steps: The number of steps in which the learning rate rises linearly, since AdamW's running means know
            only a few gradients at first. With fewer `steps` than that, the rate never reaches `lr`, and `train` says
            so: lower it for short runs.
        schedule: "cosine", "constant", or "wsd" (warm-up, stable, decay), which falls at the end. The default is the
            usual choice where the number of steps is known beforehand.
        min_lr_ratio: The learning rate that the schedule falls to after the last step, as a share of `lr`; a tenth, as
            for GPT-3 (Brown et al. 2020, appendix B).
        decay_ratio: The share of the steps in which "wsd" falls; a tenth is enough in long runs (Hu et al. 2024,
            section 4), and twice that leaves short ones some steps to settle in.
        optimizer: "adamw", or "muon" for the matrices of the blocks and AdamW for everything else. AdamW is the
            default, since it suits any model.
        weight_decay: Weight decay of matrices; gains and biases do not decay. 0, since short runs on fresh data do not
            overfit; long ones often take 0.1 (Brown et al. 2020, appendix B).
        betas: The betas of AdamW. The second, 0.98, is that of the first transformer (Vaswani et al. 2017, section
            5.3): torch's 0.999 remembers a thousand steps, more than many runs of the course have.
        max_grad_norm: The norm that the gradient is clipped to; None for no limit. 1, as for GPT-3 (Brown et al. 2020,
            appendix B), so that one unusual batch cannot undo what was learned.
        gradient_accumulation_steps: Batches per step; the gradient is that of one large batch. 1, since small models
            have room for the whole batch.
        precision: The number format of matrix products. "bf16" keeps weights, optimizer and losses in float32; "auto"
            takes bf16 if it is measured to be faster. The default works on every device.
        compile: Whether to use torch.compile, if it works here; off, since it takes longer than a small run gains.
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
