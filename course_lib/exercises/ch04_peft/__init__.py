from course_lib.exercises import Lab

LAB = Lab(
    title="How few parameters are enough?",
    question=(
        "LoRA, prefix tuning and adapters train a few percent of a model. Would any few percent do? And "
        "does it forget less that way?"
    ),
    exercises=(
        "lora_parameters",
        "lora_forward",
        "lora_gradients",
        "prefix_attention",
        "equal_ranks",
        "lora_merge",
        "effective_rank",
    ),
)
