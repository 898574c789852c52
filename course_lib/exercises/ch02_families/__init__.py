from course_lib.exercises import Lab

LAB = Lab(
    title="One block, three families",
    question="GPT, BERT and T5 from one block: which gaps can each fill, and what does writing cost?",
    exercises=("make_mask", "span_corrupt", "gap_ceiling", "log_likelihood", "tokens_computed"),
)
