"""Changing trained models: by examples, by preferences, by rewards, and with few parameters.

A method is a module that reads like its paper; import from it: `from course_lib.tune.lora import lora`.
With all parameters, or those that a method below has left: sft (examples), reward and dpo (comparisons), ppo and grpo
(rewards for what the model writes). With few: lora, prefix, adapters, bitfit; `folder` saves and loads that small part.
All of them go through course_lib.train.train.
"""
