"""Scaling laws: the loss as a function of a model's size and of the tokens it has read, and a fit of one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Number = TypeVar("Number", float, Tensor)
# From n, d, loss, weight, alpha and beta to the best E, A and B.
Coefficients = Callable[[Tensor, Tensor, Tensor, Tensor, float, float], Tensor]
NEIGHBOURS = [(i, j) for i in (0, -1, 1) for j in (0, -1, 1)]  # the centre first: its weights may have changed
FINEST = 2e-4  # the step at which the search ends
LEAST_GAIN = 1e-6  # the share by which the misfit has to fall


class ScalingLaw(NamedTuple):
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats per token (Hoffmann et al. 2022, section 3.3).

    Attributes:
        e: The loss that no size and no data removes.
        a: The weight of what a small model costs.
        b: The weight of what little data cost.
        alpha: How fast the first of these falls with the number of parameters N.
        beta: How fast the second falls with the number of tokens D.
    """

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, n: Number, d: Number) -> Number:
        """Compute the loss of a model with n parameters that has read d tokens."""
        return self.e + self.a / n**self.alpha + self.b / d**self.beta

    @property
    def growth(self) -> float:
        """The exponent g with which the best size grows with the budget C: N is proportional to C^g."""
        return self.beta / (self.alpha + self.beta)


# Hoffmann et al. 2022 with the digits of their TeX source, and as printed; what Besiroglu et al. 2024 fitted anew.
PUBLISHED = ScalingLaw(1.6934, 406.4, 410.7, 0.33917, 0.28491)
PRINTED = ScalingLaw(1.69, 406.4, 410.7, 0.34, 0.28)
REFITTED = ScalingLaw(1.8172, 482.01, 2085.43, 0.3478, 0.3658)


def least_squares(
    n: Float[Tensor, " runs"],
    d: Float[Tensor, " runs"],
    loss: Float[Tensor, " runs"],
    weight: Float[Tensor, " runs"],
    alpha: float,
    beta: float,
) -> Float[Tensor, " 3"]:
    """Compute the E, A and B that fit best for given exponents, where each run has a weight."""
    columns = torch.stack([torch.ones_like(n), n**-alpha, d**-beta], dim=1)
    root = weight.sqrt()[:, None]
    return torch.linalg.lstsq(root * columns, root * loss[:, None]).solution[:, 0]


def fit_law(
    n: Float[Tensor, " runs"],
    d: Float[Tensor, " runs"],
    loss: Float[Tensor, " runs"],
    coefficients: Coefficients = least_squares,
    *,
    delta: float = math.inf,
    start: tuple[float, float] = (0.5, 0.5),
    step: float = 0.1,
) -> ScalingLaw:
    """Fit a law to the logarithms of losses, with variable projection.

    For given exponents the law is linear in E, A and B, and `coefficients` finds them. So only two numbers are
    searched: all eight neighbours are tried, the best becomes the centre, and if there is none better, the step is
    halved. Exponents at which E, A or B would be negative are left out.

    Args:
        n: The number of parameters of each run's model.
        d: The number of tokens that it read.
        loss: Its loss.
        coefficients: Returns the best E, A and B for given exponents, where each run has a weight.
        delta: The error of a logarithm from which it counts linearly and no longer by its square (Huber's loss). The
            default is that of least squares.
        start: The exponents to begin with.
        step: The first step.

    Raises:
        ValueError: If no exponents near `start` fit with E, A and B of 0 or more.

    Source: Golub and Pereyra 1973; Hoffmann et al. 2022, section 3.3, with delta = 0.001.
    """
    law: ScalingLaw | None = None
    best, weight, (alpha, beta) = math.inf, loss**-2, start
    while True:
        moved = False
        for i, j in NEIGHBOURS:
            x, y = alpha + i * step, beta + j * step
            if min(x, y) <= 0:
                continue
            e, a, b = coefficients(n, d, loss, weight, x, y).tolist()
            if min(e, a, b) < 0:
                continue
            tried = ScalingLaw(e, a, b, x, y)
            error = (tried.loss(n, d) / loss).log()
            misfit = F.huber_loss(error, torch.zeros_like(error), reduction="sum", delta=delta).item()
            if misfit < best * (1 - LEAST_GAIN):
                best, law, moved = misfit, tried, True
        if law is None:
            raise ValueError("no law with E, A and B of 0 or more fits these runs; are losses and sizes in order?")
        alpha, beta = law.alpha, law.beta
        error = (law.loss(n, d) / loss).log().abs()
        weight = loss**-2 * (delta / error.clamp(min=1e-12)).clamp(max=1)
        step = step if moved else step / 2
        if step < FINEST:
            return law
