from course_lib.exercises import Lab

LAB = Lab(
    title="A judge made of comparisons",
    question="How good can a judge made of comparisons be, and what happens to those who trust it too much?",
    exercises=("agreement", "bradley_terry_loss", "calibration_bins", "best_of_n_kl", "best_of_n"),
)
