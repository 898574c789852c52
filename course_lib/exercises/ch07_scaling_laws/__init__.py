from course_lib.exercises import Lab

LAB = Lab(
    title="Scaling laws",
    question="Can small models tell how well a large one will do, and how large it should be?",
    exercises=("law_coefficients", "best_split", "isoflop_minimum", "plan_runs"),
)
