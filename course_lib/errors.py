"""The exceptions that the command line shows as a sentence instead of a traceback."""


class CourseError(Exception):
    """Something the user can mend; the message is a sentence that says what to do."""


class DataError(CourseError):
    """A file or a data set could not be had; the message says why and what to do."""


class ModelError(CourseError, ValueError):
    """A model cannot be read, written or made; the message says what stands in the way."""


class GenerationError(CourseError, ValueError):
    """A text cannot be written as asked; the message says what stands in the way."""
