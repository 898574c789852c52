from course_lib.exercises import Lab

LAB = Lab(
    title="Asked again",
    question="When does asking a model several times, or in other words, bring a better answer?",
    exercises=("majority_vote", "p_plurality", "paired_se", "best_plan"),
)
