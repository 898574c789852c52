from course_lib.exercises import Lab

LAB = Lab(
    title="Bias and fairness",
    question="How much of a text's bias does a model learn, and does a repair mend the model or the measure?",
    exercises=("weat_effect", "control_words", "swap_gender", "forced_false_positives"),
)
