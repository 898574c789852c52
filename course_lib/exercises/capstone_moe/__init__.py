from course_lib.exercises import Lab

LAB = Lab(
    title="A mixture of experts, from the plan to the model card",
    question="With one budget: a mixture of experts or a dense model? And how would you know?",
    exercises=("training_flops", "read_run", "difference_per_byte", "loss_after", "unsupported_claims"),
)
