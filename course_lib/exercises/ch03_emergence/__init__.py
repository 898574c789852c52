from course_lib.exercises import Lab

LAB = Lab(
    title="Do abilities appear out of nowhere?",
    question="Can an ability be predicted from smaller models? When does a curve jump, and when only its metric?",
    exercises=("exact_match", "token_accuracy_needed", "extrapolate", "prefix_matching_score", "transition"),
)
