"""The optimizers, and the learning rate of every step.

Training uses torch's fused AdamW and Muon. `adamw_update` and `muon_update` are the same updates as their papers have
them, to read and to test against. On a CPU, Muon's update is ours, which is faster there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.settings import not_supported
from course_lib.train.config import CHOICES, TrainConfig

ROUTING_WEIGHTS = ("router.weight", "shared_gate.weight")  # of course_lib.nn.moe.MoE


def lr_factor(step: int, config: TrainConfig) -> float:
    """Compute the learning rate of a step, counted from 0, as a share of the peak.

    It rises linearly in the warm-up. Then "cosine" follows half a cosine down to min_lr_ratio (Loshchilov and Hutter
    2016), "wsd" stays at the peak and falls linearly at the end (Hu et al. 2024, section 4), and "constant" stays at
    the peak.
    """
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    match config.schedule:
        case "cosine":
            progress = max(0, step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
            return rise * (config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress)))
        case "wsd":
            falling = max(1, round(config.decay_ratio * config.steps))
            left = min(1.0, (config.steps - step) / falling)
            return rise * (config.min_lr_ratio + (1 - config.min_lr_ratio) * left)
        case "constant":
            return rise
        case other:
            raise not_supported("schedule", other, CHOICES["schedule"])


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Build AdamW (Loshchilov and Hutter 2017) in its fused form, and Muon (Jordan et al. 2024) if the config asks.

    Weight decay applies to matrices, not to gains and biases. Muon takes the matrices inside the blocks, among them the
    A and B of LoRA, if there are any. The embedding and the output layer are tables rather than maps between spaces,
    and stay with AdamW, as do the router of a mixture of experts, whose outputs are logits too, and everything that is
    not a matrix. The experts are matrices, and Muon would suit them one by one; but ours lie in one tensor of three
    axes, which torch's Muon does not take, so AdamW trains them.

    Returns:
        The optimizers, Muon first.

    Raises:
        ValueError: If no parameter requires a gradient, or the optimizer is unknown.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found: list[torch.optim.Optimizer] = []
    if config.optimizer not in ("adamw", "muon"):
        raise not_supported("optimizer", config.optimizer, CHOICES["optimizer"])
    if config.optimizer == "muon":
        matrices = {
            name: p
            for name, p in trained.items()
            if p.dim() == 2 and "blocks." in name and not name.endswith(ROUTING_WEIGHTS)
        }
        if matrices:
            # Updates as large as AdamW's, so that both can use one learning rate (Liu et al. 2025, section 2.2).
            on_cpu = all(matrix.device.type == "cpu" for matrix in matrices.values())
            muon = CPUMuon if on_cpu else torch.optim.Muon
            found.append(muon(matrices.values(), config.lr, config.weight_decay, adjust_lr_fn="match_rms_adamw"))
        trained = {name: p for name, p in trained.items() if name not in matrices}
    groups = [
        {"params": [p for p in trained.values() if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained.values() if p.dim() < 2], "weight_decay": 0.0},
    ]
    if groups := [group for group in groups if group["params"]]:
        found.append(torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True))
    if not found:
        raise ValueError("the model has no parameter that requires a gradient, so there is nothing to train")
    return found


class CPUMuon(torch.optim.Muon):
    """torch's Muon in float32, with all matrices of a shape at once.

    torch rounds to bfloat16, which is faster on a GPU. A CPU without instructions for it takes eight times as long as
    in float32, and most of the time of a small model's step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every matrix that has a gradient, as `muon_update` does; return what the closure returns, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, momentum, alike = group["lr"], group["momentum"], defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    state = self.state[matrix]
                    if "momentum_buffer" not in state:  # torch's name: either class loads the other's checkpoints
                        state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                    mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                    alike[matrix.shape].append((matrix, matrix.grad.lerp(mean, momentum)))
            for shape, found in alike.items():
                directions = orthogonalize(torch.stack([direction for _, direction in found]))
                for (matrix, _), direction in zip(found, directions, strict=True):
                    matrix.mul_(1 - lr * group["weight_decay"])
                    matrix.sub_(direction, alpha=lr * 0.2 * math.sqrt(max(shape)))
        return loss


@torch.no_grad()
def adamw_update(
    parameter: Float[Tensor, "*shape"],
    grad: Float[Tensor, "*shape"],
    mean: Float[Tensor, "*shape"],
    square: Float[Tensor, "*shape"],
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    eps: float = 1e-8,
) -> None:
    """Update a parameter in place by AdamW: a step of about `lr` for each number, whatever the size of its gradient.

    Args:
        parameter: The parameter.
        grad: Its gradient.
        mean: The running mean of the gradient, zeros at first; updated in place.
        square: The running mean of its square, zeros at first; updated in place.
        step: The number of this update, from 1.
        lr: The learning rate.
        betas: How much of `mean` and of `square` is kept at each update.
        weight_decay: At each update the parameter is first multiplied by 1 - lr * weight_decay.
        eps: Keeps the division defined where the gradient was always 0.

    Source: Kingma and Ba 2014, algorithm 1; Loshchilov and Hutter 2017, algorithm 2, for the weight decay.
    """
    mean.lerp_(grad, 1 - betas[0])
    square.lerp_(grad.square(), 1 - betas[1])
    mean_hat, square_hat = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)  # they began at 0
    parameter.mul_(1 - lr * weight_decay)
    parameter.sub_(lr * mean_hat / (square_hat.sqrt() + eps))


@torch.no_grad()
def muon_update(
    matrix: Float[Tensor, "rows columns"],
    grad: Float[Tensor, "rows columns"],
    mean: Float[Tensor, "rows columns"],
    lr: float,
    momentum: float = 0.95,
    weight_decay: float = 0.0,
) -> None:
    """Update a matrix in place by Muon: a step of about the same size along each singular vector of the gradient.

    Args:
        matrix: The parameter.
        grad: Its gradient.
        mean: The running mean of the gradient, zeros at first; updated in place.
        lr: The learning rate.
        momentum: How much of `mean` is kept at each update.
        weight_decay: At each update the matrix is first multiplied by 1 - lr * weight_decay.

    Source: Jordan et al. 2024. The factor makes the update as large as one of AdamW (Liu et al. 2025, section 2.2).
    """
    mean.lerp_(grad, 1 - momentum)
    direction = orthogonalize(grad.lerp(mean, momentum).bfloat16())  # Nesterov's momentum; half precision is enough
    matrix.mul_(1 - lr * weight_decay)
    matrix.sub_(lr * 0.2 * math.sqrt(max(matrix.shape)) * direction)


def orthogonalize(matrix: Float[Tensor, "*batch rows columns"], steps: int = 5) -> Float[Tensor, "*batch rows columns"]:
    """Bring all singular values that are not tiny to about 1 (between 0.7 and 1.2), and leave the singular vectors.

    Five steps enlarge a singular value by 3.4445^5 at most, so those below a thousandth of the norm stay small, and a
    matrix of zeros stays zero.

    Each step applies the polynomial 3.4445 s - 4.775 s^3 + 2.0315 s^5 to every singular value s, by products of
    matrices alone (Newton and Schulz), which is much faster than a decomposition.

    Source: Jordan et al. 2024.
    """
    x = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix  # the smaller product below
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # none above 1; torch's bound, for zeros
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if matrix.shape[-2] > matrix.shape[-1] else x
