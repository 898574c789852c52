from course_lib.exercises import Lab

LAB = Lab(
    title="Which parts of a layer does a model need?",
    question=(
        "Take a part away, and give the model the learning rate that suits it best. Does it still miss the part?"
    ),
    exercises=("rank_residual", "layer_norm", "layer_parameters", "memories"),
)
