from course_lib.exercises import Lab

LAB = Lab(
    title="What holds a layer together?",
    question="Which parts of a layer does a model need, when each is judged at its own best learning rate?",
    exercises=("rank_residual", "layer_norm", "layer_parameters", "memories"),
)
