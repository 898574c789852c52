"""Changing trained models: by examples, by preferences, by rewards, and with few parameters.

A method is a module that reads like its paper. For all parameters, or those that a method below leaves free: sft
(examples), classify (labels, for an encoder), reward and dpo (comparisons), ppo and grpo (rewards for what the model
writes). For few parameters: lora, prefix, adapters, bitfit, and sparse as a control; `adapter_files` saves and loads
them. `exact` computes the best policy of a small world. All are trained by `course_lib.train.train`:

    add_lora(model, rank=8, alpha=16)                                  # or leave all parameters free
    examples = completion_examples(prompts, replies, end)              # token ids
    train(model, Loader(examples, 16), sft_loss, TrainConfig(200, lr=1e-3))
    options = {"n_prompts": 8, "group_size": 8, "max_new_tokens": 20}
    rollout = partial(grpo_rollout, model, frozen_copy(model), prompts, reward_fn, **options)
    train(model, RolloutBuffer(rollout), grpo_loss, TrainConfig(100, lr=1e-4))
"""

from course_lib.tune.adapter_files import load_adapter, save_adapter
from course_lib.tune.adapters import add_adapters
from course_lib.tune.bitfit import train_biases
from course_lib.tune.classify import Classifier, LabelledTexts, classification_loss, label_texts
from course_lib.tune.completions import (
    Examples,
    TokenBatch,
    completion_examples,
    completion_logprobs,
    device_of,
    token_logprobs,
)
from course_lib.tune.dpo import dpo_loss, implicit_rewards, with_ref_logprobs
from course_lib.tune.exact import ReplyTree, forward_kl_policy
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.grpo import group_advantages, grpo_loss, grpo_rollout, k2, k3
from course_lib.tune.lora import LoRA, add_lora, merge_lora, unmerge_lora
from course_lib.tune.ppo import (
    ActorCritic,
    clipped_surrogate,
    gae,
    kl_penalised_rewards,
    masked_whiten,
    ppo_loss,
    ppo_rollout,
)
from course_lib.tune.prefix import add_prefix
from course_lib.tune.reward import (
    ComparisonBatch,
    Comparisons,
    RewardModel,
    bradley_terry_loss,
    comparisons,
    load_reward_model,
    preference_metrics,
    reward_loss,
    save_reward_model,
)
from course_lib.tune.rollout import Experience, RewardFn, RolloutBuffer, draw_prompts, frozen_copy, sample_completions
from course_lib.tune.sft import chat_examples, pack_examples, sft_loss
from course_lib.tune.sparse import add_sparse

__all__ = [
    "ActorCritic",
    "Classifier",
    "ComparisonBatch",
    "Comparisons",
    "Examples",
    "Experience",
    "LabelledTexts",
    "LoRA",
    "ReplyTree",
    "RewardFn",
    "RewardModel",
    "RolloutBuffer",
    "TokenBatch",
    "add_adapters",
    "add_lora",
    "add_prefix",
    "add_sparse",
    "bradley_terry_loss",
    "chat_examples",
    "classification_loss",
    "clipped_surrogate",
    "comparisons",
    "completion_examples",
    "completion_logprobs",
    "device_of",
    "dpo_loss",
    "draw_prompts",
    "forward_kl_policy",
    "frozen_copy",
    "gae",
    "group_advantages",
    "grpo_loss",
    "grpo_rollout",
    "implicit_rewards",
    "k2",
    "k3",
    "kl_penalised_rewards",
    "label_texts",
    "load_adapter",
    "load_reward_model",
    "masked_whiten",
    "merge_lora",
    "pack_examples",
    "ppo_loss",
    "ppo_rollout",
    "preference_metrics",
    "reward_loss",
    "sample_completions",
    "save_adapter",
    "save_reward_model",
    "sft_loss",
    "token_logprobs",
    "train_biases",
    "trainable_parameters",
    "unmerge_lora",
    "with_ref_logprobs",
]
