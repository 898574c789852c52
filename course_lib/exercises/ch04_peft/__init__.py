from course_lib.exercises import Lab

LAB = Lab(
    title="How little of a model has to change?",
    question=(
        "LoRA, prefix, adapters, and as many randomly chosen numbers: is it the shape that counts? Who forgets less?"
    ),
    exercises=(
        "lora_parameters",
        "lora_forward",
        "prefix_attention",
        "adapter_forward",
        "lora_merge",
        "effective_rank",
    ),
)
