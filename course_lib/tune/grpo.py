"""Group-relative policy optimisation (Shao et al. 2024): PPO that compares each completion with others of its prompt.

No critic is needed: a completion's advantage is its reward minus the mean of its group. Dr. GRPO (Liu et al. 2025,
"Understanding R1-Zero-Like Training") leaves out two divisions. Dividing by the standard deviation of a group favours
prompts that are nearly always, or nearly never, answered correctly; `scale_by_std=False` leaves it out. Dividing by the
length of a completion punishes long wrong ones too little; `fixed_length=max_new_tokens` divides by a constant instead.

What TRL's GRPOTrainer (version 1) has besides: a mean over the tokens of all completions (its default, DAPO's loss), a
second bound for the clip, ratios of whole sequences (GSPO), k3 times the ratio, and other losses such as CISPO. It can
leave out completions that were cut off, scale by the deviation of the batch, weigh several rewards, and correct for an
engine of its own that samples (vLLM). Its beta is 0 by default; ours is 0.04, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.gpt import GPT
from course_lib.nn.storage import device_of
from course_lib.train.losses import Loss
from course_lib.tune.completions import completion_logprobs
from course_lib.tune.kl import k3
from course_lib.tune.ppo import clipped_surrogate, policy_metrics
from course_lib.tune.rollout import Experience, RewardFn, compute_rewards, draw_prompts, sample_completions


@torch.no_grad()
def grpo_rollout(
    model: GPT,
    ref_model: nn.Module,
    prompts: Sequence[Sequence[int]],
    reward_fn: RewardFn,
    generator: torch.Generator,
    *,
    n_prompts: int,
    group_size: int,
    max_new_tokens: int,
    eos_token_id: int | None = None,
    scale_by_std: bool = True,
) -> Experience:
    """Sample a group of completions for each prompt and compute their advantages.

    For a RolloutBuffer: `partial(grpo_rollout, model, ref_model, prompts, reward_fn, n_prompts=8, group_size=8, ...)`.
    A group in which all completions are right, or all wrong, has advantages of 0 and teaches nothing.

    Args:
        model: The policy.
        ref_model: The model that the policy should stay close to, usually a frozen copy of it from before the run.
        prompts: Token ids of the prompts to draw from.
        reward_fn: Returns one number for each completion.
        generator: Random generator on the CPU, for prompts and completions.
        n_prompts: The number of prompts to draw.
        group_size: The number of completions of each prompt.
        max_new_tokens: The number of tokens at which completions are cut off.
        eos_token_id: The token that ends a completion; None if nothing does.
        scale_by_std: Whether to divide advantages by the standard deviation of their group.

    Raises:
        ValueError: If groups have fewer than two members.
    """
    if group_size < 2:
        raise ValueError(f"in a group of {group_size} a completion has no other to be compared with; take at least 2")
    drawn = [prompt for prompt in draw_prompts(prompts, n_prompts, generator) for _ in range(group_size)]
    texts = sample_completions(model, drawn, max_new_tokens, generator, eos_token_id)
    old_logprobs = completion_logprobs(model, texts)  # (batch, positions)
    ref_logprobs = completion_logprobs(ref_model, texts)  # (batch, positions)
    rewards = compute_rewards(reward_fn, texts).to(old_logprobs)  # (batch,)
    advantages = group_advantages(rewards, group_size, scale_by_std)[:, None] * texts.target_mask  # (batch, positions)
    return Experience(
        *texts, rewards=rewards, old_logprobs=old_logprobs, ref_logprobs=ref_logprobs, advantages=advantages
    )


def group_advantages(
    rewards: Float[Tensor, " batch"], group_size: int, scale_by_std: bool = True
) -> Float[Tensor, " batch"]:
    """Compute advantages: each reward minus the mean of its group, divided by the group's standard deviation.

    They are 0 where all rewards of a group are equal.

    Args:
        rewards: One reward for each completion, with those of a group next to each other.
        group_size: The number of completions in a group. The variance divides by group_size (in TRL by group_size - 1).
        scale_by_std: Whether to divide by the standard deviation.

    Raises:
        ValueError: If the rewards do not make whole groups.

    Source: Shao et al. 2024, section 4.1.2.
    """
    if group_size < 1 or len(rewards) % group_size:
        raise ValueError(f"{len(rewards)} rewards do not make groups of {group_size}")
    groups = rewards.view(-1, group_size)  # (groups, group_size)
    # Rewards that differ by rounding alone are equal: divided by their deviation, the difference would look large.
    equal = groups.amax(dim=1, keepdim=True).isclose(groups.amin(dim=1, keepdim=True), rtol=1e-5)  # (groups, 1)
    advantages = (groups - groups.mean(dim=1, keepdim=True)).masked_fill(equal, 0)
    if scale_by_std:
        advantages = advantages / groups.std(dim=1, correction=0, keepdim=True).masked_fill(equal, 1)
    return advantages.flatten()


def grpo_loss(
    model: nn.Module,
    batch: Experience,
    clip_range: float = 0.2,
    beta: float = 0.04,
    kl_estimator: Callable[[Tensor, Tensor], Tensor] = k3,
    fixed_length: int | None = None,
) -> Loss:
    """Compute -(clipped surrogate - beta KL), averaged over the tokens of each completion, then over completions.

    Its metrics are those of `course_lib.tune.ppo.policy_metrics`.

    Args:
        model: The policy.
        batch: Completions from `grpo_rollout`.
        clip_range: How far the probability ratio may move from 1 before its gradient stops.
        beta: The KL coefficient: how strongly distance from the reference is penalised.
        kl_estimator: The estimator of that distance at each token, k3 or k2.
        fixed_length: The number to divide the sum over a completion by; None for the length of the completion.

    Raises:
        ValueError: If fixed_length is below 1.

    Source: Shao et al. 2024, equation 3.
    """
    if fixed_length is not None and fixed_length < 1:
        raise ValueError(f"fixed_length={fixed_length} must be at least 1, or None for the length of each completion")
    batch = batch.map_tensors(lambda tensor: tensor.to(device_of(model)))
    mask = batch.texts.target_mask  # (batch, positions)
    new_logprobs = completion_logprobs(model, batch.texts)  # (batch, positions)
    surrogate = clipped_surrogate(new_logprobs, batch.old_logprobs, batch.advantages, clip_range)
    objective = surrogate - beta * kl_estimator(new_logprobs, batch.ref_logprobs)  # (batch, positions)
    length = mask.sum(dim=1) if fixed_length is None else fixed_length
    per_completion = (objective * mask).sum(dim=1) / length  # (batch,)
    metrics = policy_metrics(new_logprobs, batch, clip_range)
    return Loss(-per_completion.sum(), len(per_completion), metrics)
