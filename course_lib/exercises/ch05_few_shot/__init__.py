from course_lib.exercises import Lab

LAB = Lab(
    title="Reading or remembering",
    question="Does a model read the examples in its prompt or answer from memory, and what decides?",
    exercises=("vote", "vote_accuracy", "follows", "half_right"),
)
