from course_lib.exercises import Lab

LAB = Lab(
    title="How does a model look things up?",
    question=(
        "How does a token find the one that it needs, wherever that stands? And why are the scores "
        "divided by the square root of d?"
    ),
    exercises=("softmax", "causal_mask", "attention", "influence", "logit_variance", "weight_slopes"),
)
