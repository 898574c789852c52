from course_lib.exercises import Lab

LAB = Lab(
    title="Can a model learn what people like?",
    question=(
        "People disagree about which answer is better. How good can a reward model be, and what happens "
        "if you trust it too much?"
    ),
    exercises=("agreement", "bradley_terry_loss", "calibration_bins", "best_of_n_kl", "best_of_n"),
)
