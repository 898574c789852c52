from course_lib.exercises import Lab

LAB = Lab(
    title="Can a model look things up?",
    question="Can a model fetch what it needs by content, and what breaks when the scores are not scaled?",
    exercises=("softmax", "causal_mask", "attention", "influence", "logit_variance"),
)
