"""Group-relative policy optimisation (Shao et al. 2024): PPO in which a reply is compared with others to its prompt.

No critic is needed: what a reply is worth is measured against the mean of its group. Dr. GRPO (Liu et al. 2025,
"Understanding R1-Zero-Like Training") leaves out two divisions, one by the standard deviation of a group, which favours
prompts that are nearly always, or nearly never, answered: `normalise=False`; and one by the length of a reply, which
spares wrong replies the more the longer they are: `length=max_new_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.gpt import GPT
from course_lib.train.losses import Loss
from course_lib.tune.ppo import clipped
from course_lib.tune.rollout import Experience, Judge, draw, judged, sample
from course_lib.tune.texts import device, log_probabilities


def relative(rewards: Float[Tensor, " batch"], group: int, normalise: bool = True) -> Float[Tensor, " batch"]:
    """Each reward less the mean of its group, in standard deviations of the group; 0 where all are equal.

    group: how many neighbouring rewards belong together; their variance is a sum over `group` (TRL: over group - 1).
    normalise: False leaves the deviations out.
    Raises ValueError where the rewards do not make whole groups. Source: Shao et al. 2024, section 4.1.2.
    """
    if group < 1 or len(rewards) % group:
        raise ValueError(f"{len(rewards)} rewards do not make groups of {group}")
    groups = rewards.view(-1, group)
    above = groups - groups.mean(dim=1, keepdim=True)
    if normalise:
        above = above / groups.std(dim=1, correction=0, keepdim=True)
    equal = groups.amax(dim=1, keepdim=True) == groups.amin(dim=1, keepdim=True)  # the mean may be off by a rounding
    return above.masked_fill(equal, 0).flatten()


@torch.no_grad()
def collect(
    model: GPT,
    reference: nn.Module,
    prompts: Sequence[Sequence[int]],
    judge: Judge,
    generator: torch.Generator,
    *,
    n: int,
    group: int,
    max_new_tokens: int,
    end: int | None = None,
    normalise: bool = True,
) -> Experience:
    """A group of replies to each of n prompts, with their advantages; for Replay: partial(collect, model, ..., n=8).

    A group that is all right, or all wrong, teaches nothing. Raises ValueError for groups of fewer than two.
    """
    if group < 2:
        raise ValueError(f"in a group of {group} a reply has no other to be compared with; take at least 2")
    asked = [prompt for prompt in draw(prompts, n, generator) for _ in range(group)]
    texts = sample(model, asked, max_new_tokens, generator, end)
    old, fixed = log_probabilities(model, texts), log_probabilities(reference, texts)
    scores = judged(judge, texts).to(old)
    advantages = relative(scores, group, normalise)[:, None] * texts.learn[:, 1:]
    return Experience(*texts, scores, old, fixed, advantages)


def k3(new: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """ratio - log(ratio) - 1 with ratio = pi_ref / pi, from their logarithms: an estimate of KL(pi, pi_ref).

    It is never below 0, and right on average over tokens drawn from pi. Its gradient, which is all that a loss uses, is
    on average that of the other divergence, KL(pi_ref, pi): with it the best policy is no longer that of PPO and DPO.
    Source: Shao et al. 2024, equation 4; Schulman 2020, "Approximating KL Divergence"; the gradient, Liu et al. 2025,
    "Rethinking KL Regularization in RLHF".
    """
    difference = reference - new
    return difference.exp() - difference - 1


def k2(new: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(ratio)^2 / 2: as an estimate of KL(pi, pi_ref) off by a little, but its gradient is on average the right one.

    Source: as k3.
    """
    return (reference - new).square() / 2


def grpo(
    model: nn.Module,
    batch: Experience,
    clip: float = 0.2,
    beta: float = 0.04,
    divergence: Callable[[Tensor, Tensor], Tensor] = k3,
    length: int | None = None,
) -> Loss:
    """Minus (the clipped objective - beta divergence): a mean over the tokens of each reply, then over the replies.

    beta: the price of distance from the reference. divergence: what that is estimated with: k3, or k2.
    length: what to divide the sum of a reply by; None for its own length.
    Source: Shao et al. 2024, equation 3.
    """
    batch = batch.each(lambda tensor: tensor.to(device(model)))
    learn = batch.learn[:, 1:]
    new = log_probabilities(model, batch.texts)
    objective = clipped(new, batch.old, batch.advantages, clip) - beta * divergence(new, batch.reference)
    replies = (objective * learn).sum(dim=1) / (length or learn.sum(dim=1))
    return Loss(-replies.sum(), len(replies))
