"""Shapes written in the signatures of these modules are checked whenever a test calls a function of theirs."""

from jaxtyping import install_import_hook

install_import_hook(
    [f"course_lib.tune.{name}" for name in ("texts", "sft", "reward", "dpo", "rollout", "ppo", "grpo")],
    "beartype.beartype",
)
