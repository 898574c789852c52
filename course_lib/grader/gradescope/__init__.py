"""A lab as an autograder of Gradescope: `export` writes the zip to upload, `run` grades a submission there.

Formats: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""
