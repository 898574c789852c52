from course_lib.exercises import Lab

LAB = Lab(
    title="Why several heads?",
    question=(
        "Can one head look for two things at once? What do the 270 heads of a real model look at, and "
        "which does it miss when they are gone?"
    ),
    exercises=("split_heads", "merge_heads", "multi_head", "multi_head_attention", "ablate_head", "unequal_weights"),
)
