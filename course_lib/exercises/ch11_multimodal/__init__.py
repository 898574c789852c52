from course_lib.exercises import Lab

LAB = Lab(
    title="Pictures and sound in a language model",
    question="How does a picture get into a model that only knows tokens?",
    exercises=("insert_pictures", "blind_best", "other_pictures", "mel_band"),
)
