"""The exceptions that the command line shows as a sentence instead of a traceback."""


class CourseError(Exception):
    """An error that the user can fix; the message is a sentence that says what to do."""


class DataError(CourseError):
    """A file or a data set is not available; the message says why and what to do."""


class ModelError(CourseError, ValueError):
    """A model cannot be read, written or built; the message says why."""


class GenerationError(CourseError, ValueError):
    """A text cannot be generated as requested; the message says why."""
