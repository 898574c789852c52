from course_lib.exercises import Lab

LAB = Lab(
    title="What can be learned by guessing the next token?",
    question="What does half a minute of guessing the next token teach, beside rivals that only count?",
    exercises=("merge_pair", "learn_merges", "next_token_loss", "bits_per_byte", "bigram_surprise"),
)
