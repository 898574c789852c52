from course_lib.exercises import Lab

LAB = Lab(
    title="Answering without knowing",
    question="When does a model make up an answer, and can it tell?",
    exercises=("good_turing", "forget", "auroc", "threshold"),
)
