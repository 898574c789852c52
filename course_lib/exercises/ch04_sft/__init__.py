from course_lib.exercises import Lab

LAB = Lab(
    title="What do a hundred examples teach?",
    question="After a hundred examples the model can answer. Did it learn that from them, or could it do it all along?",
    exercises=("render_chat", "reply_mask", "masked_loss", "telling_strings"),
)
