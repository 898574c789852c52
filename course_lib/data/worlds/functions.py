"""Functions in context: each row has examples of its own function, whose next value is to be predicted."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.data.worlds.sampling import interleave
from course_lib.settings import check_counts, check_numbers


class RegressionBatch(NamedTuple):
    """A batch of examples of noisy linear functions."""

    inputs: Float[Tensor, "batch example d"]
    outputs: Float[Tensor, "batch example"]
    weights: Float[Tensor, "batch d"]  # the function; never shown


@dataclass(frozen=True)
class LinearFunctions:
    """Linear regression in context: y = w x + noise, with a new w in every row.

    Predictions at example k use the k examples before it; at k = 0 nothing is known. The risk is the mean squared error
    against the noisy output, so no risk is below noise^2.

    Args:
        d: The dimension of an input, which is standard normal.
        noise: The standard deviation of the noise, which is normal.
        scale: The standard deviation of w, which is normal.
        n_tasks: The number of functions that the rows share; None if every row has its own. After training on shared
            functions, `dataclasses.replace(world, n_tasks=None)` tests on new ones.
        seed: The seed of the shared functions.

    Raises:
        ValueError: If there are no dimensions, examples or tasks, noise is negative, or scale is not positive.

    Source: Garg et al. 2022; with a limited number of tasks, Raventós et al. 2023.
    """

    d: int = 2
    n_examples: int = 10
    noise: float = 0.5
    scale: float = 1.0
    n_tasks: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "d", "n_examples", *(["n_tasks"] if self.n_tasks is not None else []))
        check_numbers(self, "noise", least=0)
        check_numbers(self, "scale", above=0)

    @functools.cached_property
    def tasks(self) -> Float[Tensor, "task d"]:
        """The functions that the rows share; empty if every row has its own."""
        generator = torch.Generator().manual_seed(self.seed)
        return self.scale * torch.randn(self.n_tasks or 0, self.d, generator=generator)

    @property
    def zero_risk(self) -> float:
        """The risk of always predicting 0: exactly d scale^2 + noise^2 (over new functions)."""
        return self.d * self.scale**2 + self.noise**2

    def least_squares_risk(self, k: int) -> float:
        """Compute the exact risk, over new functions, of the minimum-norm least-squares solution from k examples.

        The risk is infinite for k from d - 1 to d + 1, where the noise is amplified without bound, unless there is no
        noise. It follows from the mean of an inverse Wishart matrix, 1 / (degrees of freedom - dimensions - 1).
        """
        missed = max(self.d - k, 0) * self.scale**2
        if self.noise == 0 or k == 0:
            return missed + self.noise**2
        gap = abs(self.d - k) - 1
        return missed + self.noise**2 * (1 + min(self.d, k) / gap) if gap > 0 else math.inf

    def sample(self, batch: int, generator: torch.Generator) -> RegressionBatch:
        """Sample functions and examples."""
        inputs = torch.randn(batch, self.n_examples, self.d, generator=generator)
        if self.n_tasks is None:
            weights = self.scale * torch.randn(batch, self.d, generator=generator)
        else:
            weights = self.tasks[torch.randint(self.n_tasks, (batch,), generator=generator)]
        noise = self.noise * torch.randn(batch, self.n_examples, generator=generator)
        return RegressionBatch(inputs, torch.einsum("bkd, bd -> bk", inputs, weights) + noise, weights)

    def tokens(self, batch: RegressionBatch) -> Float[Tensor, "batch position {self.d}+1"]:
        """Encode rows as sequences `x1 y1 x2 y2 ...`: an input is (0, x), an output (y, 0 ... 0).

        The target at position 2k, an input, is the output at position 2k + 1.
        """
        inputs = torch.nn.functional.pad(batch.inputs, (1, 0))
        outputs = torch.nn.functional.pad(batch.outputs[..., None], (0, self.d))
        return interleave(inputs, outputs)

    def ridge(self, batch: RegressionBatch) -> Float[Tensor, "batch example"]:
        """Compute the Bayes-optimal predictions if functions are not shared, by ridge regression.

        The penalty is (noise / scale)^2, which gives the posterior mean; computed in double precision.

        Raises:
            ValueError: If there is no noise; use least squares then.
        """
        precision, moment = self._evidence(batch)
        mean = torch.linalg.solve(precision, moment)
        return (mean * batch.inputs.double()).sum(-1)

    def task_posterior(self, batch: RegressionBatch) -> Float[Tensor, "batch example task"]:
        """Compute the posterior probability of each shared task, given the examples before each one.

        Raises:
            ValueError: If there are no shared tasks, or there is no noise.
        """
        if self.n_tasks is None or self.noise == 0:
            raise ValueError("a posterior over tasks needs a limited number of tasks, and noise")
        errors = batch.outputs[..., None].double() - batch.inputs.double() @ self.tasks.T.double()
        return (-_before(errors**2) / (2 * self.noise**2)).softmax(-1)

    def best_of_tasks(self, batch: RegressionBatch) -> Float[Tensor, "batch example"]:
        """Compute the Bayes-optimal predictions if tasks are shared: the tasks' mean, weighted by the posterior.

        Source: the discrete MMSE estimator of Raventós et al. 2023.
        """
        values = batch.inputs.double() @ self.tasks.T.double()
        return (self.task_posterior(batch) * values).sum(-1)

    def _evidence(
        self, batch: RegressionBatch
    ) -> tuple[Float[Tensor, "batch example d d"], Float[Tensor, "batch example d"]]:
        """Return X'X + penalty and X'y of the examples before each one."""
        if self.noise == 0:
            raise ValueError("without noise there is no ridge penalty; compare with least squares")
        inputs, outputs = batch.inputs.double(), batch.outputs.double()
        penalty = (self.noise / self.scale) ** 2 * torch.eye(self.d, dtype=torch.float64)
        return _before(inputs[..., None] * inputs[..., None, :]) + penalty, _before(inputs * outputs[..., None])


def _before(values: Float[Tensor, "batch example ..."]) -> Float[Tensor, "batch example ..."]:
    """Return the sum over all earlier examples."""
    # Not cumsum - values: rounding would let a little of each example into its own prediction.
    return torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(1)[:, :-1]], dim=1)
