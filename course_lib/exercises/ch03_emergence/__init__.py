from course_lib.exercises import Lab

LAB = Lab(
    title="Do abilities appear out of nowhere?",
    question=(
        "Small models cannot do it, and a larger one suddenly can. Is the jump in the model or in the "
        "metric, and could you have seen it coming?"
    ),
    exercises=("exact_match", "token_accuracy_needed", "extrapolate", "prefix_matching_score", "fair_rates"),
)
