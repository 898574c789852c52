"""What is wrong with the file of an exercise."""

from course_lib.errors import CourseError


class ExerciseError(CourseError, ValueError):
    """The file of an exercise is wrong; the message says where and what to do."""
