from course_lib.exercises import Lab

LAB = Lab(
    title="Helpful and safe: two numbers, not one",
    question=(
        "How much safety costs how much help, what moves a model along that trade, and how deep does a refusal go?"
    ),
    exercises=("outcome_rates", "frontier", "refusal_at", "weight_for", "pareto"),
)
