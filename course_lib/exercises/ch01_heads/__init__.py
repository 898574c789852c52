from course_lib.exercises import Lab

LAB = Lab(
    title="What are several heads good for?",
    question="Can one head look for two things at once? What do the heads of a real model look at, and which does it "
    "need?",
    exercises=("split_heads", "merge_heads", "multi_head", "multi_head_attention", "ablate_head"),
)
