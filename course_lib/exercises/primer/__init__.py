from course_lib.exercises import Lab

LAB = Lab(
    title="How does a model learn?",
    question=(
        "How does a table of numbers learn that u follows q? And how would you notice that it only "
        "knows its text by heart?"
    ),
    exercises=("cosine_similarity", "cross_entropy", "nudge_gradient", "descend", "best_rate", "letter_model"),
)
