from course_lib.exercises import Lab

LAB = Lab(
    title="How long should the leash be?",
    question=(
        "PPO, DPO and GRPO want the same policy: do they find it, and what happens when the judge is slightly wrong?"
    ),
    exercises=("best_policy", "gae", "clipped_surrogate", "group_advantages", "dpo_loss"),
)
