from course_lib.exercises import Lab

LAB = Lab(
    title="Learning from examples in the prompt",
    question="How does a model that no longer learns learn from the examples in its prompt, and does it read them?",
    exercises=("ridge", "as_tokens", "other_labels", "gradient_layer"),
)
