"""Instant checks in the notebook, and sandboxed grading of a folder of submissions.

How one submission becomes a grade, file by file:

1. `command` goes through the folder; `notebook` reads a file, of which nothing is trusted but the source of its cells.
2. `submission` grades it: `cells_needed` says which cells an exercise needs.
3. `worker_client` starts a worker inside the `sandbox`. There, `inside.worker` has a child for each exercise, which
   runs the cells and answers "call this with these arrays" (`inside.child`, `inside.calls`), in messages of
   `inside.frames`. `remote` makes of this a subject that is called like a function of this process.
4. `exam` puts the questions; `compare` says whether an answer is right, `diagnose` what looks wrong.
5. `report` and `grades_folder` write it down.

`check` gives the same exam to a function of the notebook's own process.
"""

from course_lib.grader.check import check, use

__all__ = ["check", "use"]
