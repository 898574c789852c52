from course_lib.exercises import Lab

LAB = Lab(
    title="What does predicting the next token teach?",
    question=(
        "A small GPT reads Wikipedia. Does it predict the next token better than a table of counts "
        "does, or the program xz?"
    ),
    exercises=("merge_pair", "learn_merges", "next_token_loss", "bits_per_byte", "bigram_surprise", "share_seen"),
)
