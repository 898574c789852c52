"""The optimizers, and the learning rate of every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from course_lib.train.config import TrainConfig


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
        case _:  # constant
            return rise


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Build AdamW (Loshchilov and Hutter 2017) in its fused form, and Muon (Jordan et al. 2024) if the config asks.

    Weight decay applies to matrices, not to gains and biases. Muon takes the matrices inside the blocks. The embedding
    and the output layer are tables rather than maps between spaces, and stay with AdamW, as does everything that is not
    a matrix.

    Returns:
        The optimizers, Muon first.

    Raises:
        ValueError: If no parameter requires a gradient.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        matrices = {name: p for name, p in trained.items() if p.dim() == 2 and "blocks." in name}
        if matrices:
            # Updates as large as AdamW's, so that both can use one learning rate (Liu et al. 2025, section 2.2).
            muon = torch.optim.Muon(matrices.values(), config.lr, config.weight_decay, adjust_lr_fn="match_rms_adamw")
            found.append(muon)
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
