from course_lib.exercises import Lab

LAB = Lab(
    title="Do PPO, DPO and GRPO find the best policy?",
    question=(
        "All three promise the most reward without moving far from the model we began with. Do they "
        "deliver, and what if the reward is slightly wrong?"
    ),
    exercises=("best_policy", "gae", "clipped_surrogate", "group_advantages", "dpo_loss", "penalty_slopes"),
)
