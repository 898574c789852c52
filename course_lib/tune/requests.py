"""Training in the world of requests: models that answer at the counter, further trained by examples and by rewards.

The world is `course_lib.data.worlds.requests.Requests`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.models import GPT
from course_lib.train import TrainConfig, train
from course_lib.train.loop import Batches
from course_lib.tune.completions import Examples, TokenBatch
from course_lib.tune.grpo import grpo_loss, grpo_rollout
from course_lib.tune.rollout import RewardFn, RolloutBuffer, frozen_copy
from course_lib.tune.sft import sft_loss


def concatenate(*parts: Examples) -> Examples:
    """Put examples one after the other; rows are padded as in the first."""
    ids = [row for part in parts for row in part.ids]
    return Examples(ids, [row for part in parts for row in part.completion_mask], parts[0].pad_id)


def exact_match(texts: TokenBatch, completions: Sequence[Sequence[int]]) -> Float[Tensor, " batch"]:
    """Compare the completion of each row with a given one: 1 where they are the same, otherwise 0."""
    pairs = zip(texts.completions(), completions, strict=True)
    return torch.tensor([written == list(given) for written, given in pairs]).float()


def fine_tuned(model: GPT, batches: Batches, config: TrainConfig, label: str) -> GPT:
    """Train a copy of a model on completions, and return it."""
    model = copy.deepcopy(model)
    train(model, batches, sft_loss, config, label=label)
    return model


def grpo_tuned(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    reward_fn: RewardFn,
    config: TrainConfig,
    label: str,
    eos_token_id: int,
    look: Callable[[GPT], None] | None = None,
    every: int = 1,
) -> GPT:
    """Train a copy of a model by GRPO without a KL penalty, and return it; `look` is shown it after `every` steps."""
    model = copy.deepcopy(model)

    def after_step(step: int, metrics: Mapping[str, float]) -> None:
        if look and step % every == 0:
            look(model)

    collect = partial(
        grpo_rollout,
        model,
        frozen_copy(model),
        prompts,
        reward_fn,
        n_prompts=24,
        group_size=8,
        max_new_tokens=5,
        eos_token_id=eos_token_id,
    )
    train(model, RolloutBuffer(collect), partial(grpo_loss, beta=0.0), config, label=label, after_step=after_step)
    return model
