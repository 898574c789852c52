"""Changing trained models: by examples, by preferences, by rewards, and with few parameters.

A method is a module that reads like its paper; import from it. With all parameters, or those that a method below has
left: sft (examples), classify (labels, on an encoder), reward and dpo (comparisons), ppo and grpo (rewards for what the
model writes). With few: lora, prefix, adapters, bitfit, and sparse as a control; `folder` saves and loads that small
part. `exact` counts out what the best policy of a small world is. All go through course_lib.train.train:

    lora(model, rank=8, alpha=16)                                                  # or leave all parameters free
    examples = pairs(prompts, replies, end)                                        # of ids; from course_lib.tune.texts
    train(model, Loader(examples, 16), sft, TrainConfig(200, lr=1e-3))             # from course_lib.data.loading.loader
    replay = Replay(partial(grpo.collect, model, frozen_copy(model), prompts, judge, n=8, group=8, max_new_tokens=20))
    train(model, replay, grpo.grpo, TrainConfig(100, lr=1e-4))                     # judge(texts) gives one number each
"""
