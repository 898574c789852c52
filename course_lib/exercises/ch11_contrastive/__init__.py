from course_lib.exercises import Lab

LAB = Lab(
    title="Pictures and captions",
    question="What does a model learn about pictures from captions: words, or whole things that it recognises?",
    exercises=("patchify", "info_nce", "temperature_for", "recall_at_k", "wrong_names"),
)
