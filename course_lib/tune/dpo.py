"""Direct preference optimisation (Rafailov et al. 2023): comparisons teach the policy itself, without sampling.

The policy that is best for a reward r, at a price of beta for each nat that it moves away from a reference, is
pi(y | x) proportional to pi_ref(y | x) exp(r(x, y) / beta) (equation 4). Read backwards, any policy is the best one for
the reward beta log(pi / pi_ref), up to a term of the prompt alone (equation 5), which cancels between two replies to it
(equation 6).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.train.losses import Loss
from course_lib.tune.reward import Compared, Comparisons, bradley_terry
from course_lib.tune.texts import log_probabilities


@torch.no_grad()
def with_reference(comparisons: Comparisons, model: nn.Module, batch_size: int = 64) -> Comparisons:
    """The comparisons, with what the model thinks of both replies now, before it is trained: it is the reference.

    Since that never changes it is computed once, and no second model has to be kept. It is computed in the precision of
    the moment: for a run in bf16 call it under autocast too, or the two begin a rounding apart.
    """
    rows = [
        log_probabilities(model, comparisons[which].texts).sum(dim=1).view(2, -1).T
        for which in torch.arange(len(comparisons)).split(batch_size)
    ]
    return replace(comparisons, reference=torch.cat(rows))


def implicit_rewards(model: nn.Module, batch: Compared, beta: float) -> tuple[Float[Tensor, " pairs"], ...]:
    """beta log(pi(y | x) / pi_ref(y | x)) of the chosen and of the rejected replies (section 4, after equation 7).

    Raises ValueError for comparisons without reference.
    """
    if batch.reference is None:
        raise ValueError("the comparisons have no reference; pass them through with_reference(comparisons, model)")
    now = log_probabilities(model, batch.texts).sum(dim=1).view(2, -1)
    chosen, rejected = beta * (now - batch.reference.T.to(now.device))
    return chosen, rejected


def dpo(model: nn.Module, batch: Compared, beta: float = 0.1) -> Loss:
    """The surprise, in nats, at what was preferred, given the implicit rewards: ln 2 where the policy is the reference.

    beta: the price of a nat of distance from the reference. Source: Rafailov et al. 2023, equation 7.
    """
    surprise = bradley_terry(*implicit_rewards(model, batch, beta))
    return Loss(surprise.sum(), len(surprise))
