"""Instant checks in the notebook, and sandboxed grading of a folder of submissions."""

from course_lib.grader.check import check, use

__all__ = ["check", "use"]
