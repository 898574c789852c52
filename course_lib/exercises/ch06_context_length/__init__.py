from course_lib.exercises import Lab

LAB = Lab(
    title="What is left of a long text",
    question="What can a model find in a long text, what does it cost, and what is left if the text is too long?",
    exercises=("kv_bytes", "receptive_field", "recent", "choose"),
)
