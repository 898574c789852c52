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
        "moe_parameters",
        "fair_pairs",
        "load_balancing_loss",
        "within_capacity",
        "biased_route",
    ),
)
