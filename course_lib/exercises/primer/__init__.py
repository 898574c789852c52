from course_lib.exercises import Lab

LAB = Lab(
    title="How does a model learn?",
    question="How does a table of numbers learn which letter follows which, and when does it learn by heart?",
    exercises=("cosine_similarity", "cross_entropy", "nudge_gradient", "descend", "letter_model"),
)
