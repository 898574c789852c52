from course_lib.exercises import Lab

LAB = Lab(
    title="Learning from examples in the prompt",
    question="How can a model learn from its prompt when its weights no longer change, and does it read the examples?",
    exercises=("ridge", "as_tokens", "other_labels", "gradient_layer"),
)
