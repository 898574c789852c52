"""The waiter's policies: one fine-tuned on what his colleagues said, and three tuned from it by PPO, GRPO and DPO.

The world is `course_lib.data.worlds.waiter.Waiter`, in which every completion can be listed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from course_lib.data.loading.loader import Loader
from course_lib.data.worlds.waiter import Waiter
from course_lib.measure import device
from course_lib.models import GPT, GPTConfig
from course_lib.train import TrainConfig, train
from course_lib.tune.completions import TokenBatch, completion_examples
from course_lib.tune.dpo import dpo_loss, sample_preferences, with_ref_logprobs
from course_lib.tune.grpo import grpo_loss, grpo_rollout
from course_lib.tune.ppo import ActorCritic, ppo_loss, ppo_rollout
from course_lib.tune.reward import RewardModel
from course_lib.tune.rollout import RolloutBuffer, frozen_copy
from course_lib.tune.sft import sft_loss


def from_colleagues(world: Waiter, seed: int, order: int = 0) -> GPT:
    """Train a small GPT on the orders and completions of the waiters of this world.

    Args:
        world: The world.
        seed: The seed of the weights and of the completions.
        order: The seed of the order in which completions are read.
    """
    torch.manual_seed(seed)
    size = GPTConfig(world.end + 1, context=8, d_model=32, n_layers=1, n_heads=2)
    policy = GPT(size).to(device())
    orders, replies = world.sample(4000, torch.Generator().manual_seed(seed + 1000))
    batches = Loader(completion_examples(orders, replies, world.end), 64, seed=order)
    config = TrainConfig(200, lr=1e-2, warmup_steps=10, seed=seed)
    train(policy, batches, sft_loss, config, label="from colleagues")
    return policy


def train_ppo_grpo_dpo(
    world: Waiter,
    start: GPT,
    beta: float,
    rates: Mapping[str, float],
    *,
    replies: int,
    rollout: int,
    seed: int = 0,
    group: int = 8,
) -> dict[str, GPT]:
    """Train the waiter on the gold reward by PPO, GRPO and DPO, each with the same number of his completions.

    Args:
        world: The world.
        start: The policy to begin with, and the reference.
        beta: The KL coefficient.
        rates: The learning rate of each method.
        replies: The number of completions that each method may sample.
        rollout: The number of completions that PPO and GRPO sample at a time.
        seed: The seed of the runs.
        group: The number of completions that GRPO compares with each other.
    """
    torch.manual_seed(seed)
    policies = {name: copy.deepcopy(start) for name in ("PPO", "GRPO", "DPO")}
    reference, length = frozen_copy(start), world.longest

    def gold(texts: TokenBatch) -> torch.Tensor:
        return world.gold_reward(*texts)

    def settings(method: str, steps: int) -> TrainConfig:
        return TrainConfig(steps, lr=rates[method], warmup_steps=10, seed=seed)

    limits: dict[str, Any] = {"max_new_tokens": length, "eos_token_id": world.end}
    steps = replies // rollout * 4
    actor_critic = ActorCritic(policies["PPO"], RewardModel(copy.deepcopy(start)))
    collect = partial(ppo_rollout, actor_critic, reference, world.prompts, gold, n_prompts=rollout, beta=beta, **limits)
    train(actor_critic, RolloutBuffer(collect, epochs=2, minibatches=2), ppo_loss, settings("PPO", steps), label="PPO")

    sizes: dict[str, Any] = {"n_prompts": rollout // group, "group_size": group, "scale_by_std": False}
    collect = partial(grpo_rollout, policies["GRPO"], reference, world.prompts, gold, **sizes, **limits)
    # A completion counts in the mean it is compared with, so advantages are smaller by 1 / group, and beta must be too.
    loss = partial(grpo_loss, beta=beta * (1 - 1 / group), fixed_length=length)
    buffer = RolloutBuffer(collect, epochs=2, minibatches=2)
    train(policies["GRPO"], buffer, loss, settings("GRPO", steps), label="GRPO")

    generator = torch.Generator().manual_seed(seed + 2000)
    pairs = sample_preferences(start, world.prompts, gold, replies // 2, generator, **limits)
    batches = Loader(with_ref_logprobs(pairs, start), rollout // 2, seed=seed)
    steps = 8 * len(pairs) // (rollout // 2)  # each pair is read eight times
    train(policies["DPO"], batches, partial(dpo_loss, beta=beta), settings("DPO", steps), label="DPO")
    return policies
