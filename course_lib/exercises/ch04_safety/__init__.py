from course_lib.exercises import Lab

LAB = Lab(
    title="How helpful can a safe model be?",
    question="What does safety cost in helpfulness, what gives you more of both, and how deep does a refusal go?",
    exercises=("outcome_rates", "frontier", "refusal_at", "weight_for", "pareto"),
)
