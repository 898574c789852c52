from course_lib.exercises import Lab

LAB = Lab(
    title="How does a model know where each token is?",
    question=(
        "A model has only seen texts of 64 characters and gets one of 512. Which ways of saying where a "
        "token stands survive that?"
    ),
    exercises=("sinusoidal", "position_shift", "rope", "alibi_bias"),
)
