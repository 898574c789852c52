from course_lib.exercises import Lab

LAB = Lab(
    title="Thinking in steps",
    question="Why does writing its steps help a model, and does its answer rest on what it wrote?",
    exercises=("chain_states", "told_only", "chain_accuracy", "answer_if_followed"),
)
