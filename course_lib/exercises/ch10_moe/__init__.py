from course_lib.exercises import Lab

LAB = Lab(
    title="Many specialists, of whom only a few answer",
    question=(
        "A model may hold many specialists, of whom only a few answer at a time. Does that pay, on which questions, "
        "and what does it cost?"
    ),
    exercises=(
        "route",
        "mix_experts",
        "fair_pairs",
        "within_capacity",
        "load_balancing_loss",
        "biased_route",
        "moe_parameters",
    ),
)
