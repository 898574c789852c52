"""The one exception that the command line shows as a sentence instead of a traceback."""


class CourseError(Exception):
    """Something the user can mend; the message is a sentence that says what to do."""
