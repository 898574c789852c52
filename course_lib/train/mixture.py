"""The loss of a mixture of experts: next tokens, and what keeps its router in order."""

import torch
from torch import nn

from course_lib.nn.moe import load_balancing_loss, router_z_loss, routings
from course_lib.train.losses import Loss, next_token_loss


def moe_loss(
    model: nn.Module, windows: torch.Tensor, load_balancing_coef: float = 0.01, z_loss_coef: float = 0.001
) -> Loss:
    """Compute the next-token loss of a mixture of experts, with its load-balancing loss and z-loss.

    The load-balancing loss keeps the experts equally busy; the z-loss keeps the router's logits small.

    Args:
        model: A mixture of experts.
        windows: Token ids to read and predict.
        load_balancing_coef: Weight of the load-balancing loss, a mean over the layers (Fedus et al. 2021, section 2.2).
        z_loss_coef: Weight of the router's z-loss, a mean over the layers (Zoph et al. 2022, section 3.3).
    """
    loss = next_token_loss(model, windows)
    layers = routings(model)
    aux_loss = sum(
        load_balancing_coef * load_balancing_loss(layer.logits, layer.experts.shape[1])
        + z_loss_coef * router_z_loss(layer.logits)
        for layer in layers
    ) / len(layers)
    # A Loss is a total; scaled by the number of targets, the auxiliary loss counts once in its mean.
    return Loss(loss.total + aux_loss * loss.n_targets, loss.n_targets)
