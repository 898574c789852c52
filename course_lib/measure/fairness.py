"""Predicted risks of people, for the measures of fairness."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def predicted_risk(
    features: Sequence[Float[Tensor, " person"]], outcome: Float[Tensor, " person"]
) -> Float[Tensor, " person"]:
    """Fit a logistic regression with an intercept, and return the risk that it predicts for each person, 0 to 1.

    Args:
        features: What it sees of each person, one tensor a feature.
        outcome: 1 for those with the outcome, 0 for the others.
    """
    inputs = torch.stack([*features, torch.ones_like(outcome)], dim=1)
    weights = torch.zeros(inputs.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(inputs @ weights, outcome)
        value.backward()
        return value

    optimizer.step(loss)
    return (inputs @ weights).sigmoid().detach()


def calibration_curve(
    risk: Float[Tensor, " person"], outcome: Float[Tensor, " person"], n_bins: int = 5
) -> tuple[Float[Tensor, " bin"], Float[Tensor, " bin"]]:
    """Compute a calibration curve, with bins of equal width: risks from 0 to 20%, from 20 to 40% and so on.

    Returns:
        The mean risk of each bin, and the share of its people who have the outcome. Both are equal if the risks are
        calibrated, and NaN in a bin without people.
    """
    which = (n_bins * risk).long().clamp(max=n_bins - 1)
    inside = F.one_hot(which, n_bins).to(risk.dtype)
    people = inside.sum(0)
    return risk @ inside / people, outcome @ inside / people
