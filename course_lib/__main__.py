"""`python -m course_lib`: the `course` command where the course is a folder and not installed."""

from course_lib.cli import main

main()
