from course_lib.exercises import Lab

LAB = Lab(
    title="What a token of data is worth",
    question="How far does a text get a model if it is short, repeated, copied or full of noise?",
    exercises=("worth", "near_copies", "spoil", "leaked"),
)
