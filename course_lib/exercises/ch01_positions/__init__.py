from course_lib.exercises import Lab

LAB = Lab(
    title="Where is each token?",
    question="What happens to a model when the text is longer than any it has seen?",
    exercises=("sinusoidal", "position_shift", "rope", "alibi_bias"),
)
