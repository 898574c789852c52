"""Changing trained models: by examples, by preferences, by rewards, and with few parameters.

A method is a module that reads like its paper. For all parameters, or those that a method below leaves free: sft
(examples), classify (labels, for an encoder), reward and dpo (comparisons), ppo and grpo (rewards for what the model
writes). For few parameters: lora, prefix, adapters, bitfit, and sparse as a control; `adapter_files` saves and loads
them. `exact` computes the best policy of a small world. Names are imported from the module of their method
(`from course_lib.tune.lora import add_lora`), and all methods are trained by `course_lib.train.train`:

    add_lora(model, rank=8, alpha=16)                                  # or leave all parameters free
    examples = completion_examples(prompts, completions, eos_token_id)  # token ids
    train(model, Loader(examples, 16), sft_loss, TrainConfig(200, lr=1e-3))
    options = {"n_prompts": 8, "group_size": 8, "max_new_tokens": 20}
    rollout = partial(grpo_rollout, model, frozen_copy(model), prompts, reward_fn, **options)
    train(model, RolloutBuffer(rollout), grpo_loss, TrainConfig(100, lr=1e-4))
"""
