"""Fine-tuning trained models: on examples, preferences or rewards, with all parameters or only a few.

Each method is a module that reads like its paper. To read the room, begin with `completions`, prompts and the texts
that follow them, which nearly every method reads. The first methods train all parameters, or those that a method below
leaves trainable: sft (examples), classify (labels, for an encoder), reward and dpo (comparisons). Then come `rollout`,
how completions are sampled and rewarded, and `kl`, how far the policy is from its reference; ppo and grpo (rewards for
sampled completions) are built on both. Before the methods that train few parameters comes `frozen`, which all of them
share: lora, prefix, adapters, bitfit, and sparse as a control; `adapter_files` saves and loads all but the control.
`exact` computes the best policy for a small vocabulary. Names are imported from the module of their method
(`from course_lib.tune.lora import add_lora`), and all methods are trained by `course_lib.train.train`:

    add_lora(model, rank=8, alpha=16)                                  # or leave all parameters trainable
    examples = completion_examples(prompts, completions, eos_token_id)  # token ids
    train(model, Loader(examples, 16), sft_loss, TrainConfig(200, lr=1e-3))
    options = {"n_prompts": 8, "group_size": 8, "max_new_tokens": 20}
    rollout = partial(grpo_rollout, model, frozen_copy(model), prompts, reward_fn, **options)
    train(model, RolloutBuffer(rollout), grpo_loss, TrainConfig(100, lr=1e-4))
"""
