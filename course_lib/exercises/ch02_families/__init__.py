from course_lib.exercises import Lab

LAB = Lab(
    title="GPT, BERT, T5: how different are they?",
    question=(
        "All three come from one block. Which of them can fill a gap, which can write, and what does it cost each?"
    ),
    exercises=("make_mask", "span_corrupt", "gap_ceiling", "log_likelihood", "tokens_computed"),
)
