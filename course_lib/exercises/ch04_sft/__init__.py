from course_lib.exercises import Lab

LAB = Lab(
    title="What do a hundred examples teach?",
    question="What do a hundred instructions teach a model, and what did it know before?",
    exercises=("render_chat", "reply_mask", "masked_loss", "score_replies"),
)
