from course_lib.exercises import Lab

LAB = Lab(
    title="A vision-text model from start to finish",
    question="Can a model that we train here answer questions about pictures by an artist it never saw?",
    exercises=("part_of", "share_interval", "choose_trial", "error_kind"),
)
