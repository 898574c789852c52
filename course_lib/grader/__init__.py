"""Instant checks in the notebook, and sandboxed grading of a folder of submissions.

How one submission becomes a grade, file by file:

1. `command` goes through the folder; `notebook` reads a file, of which only the source of the cells is used.
2. `submission` grades it: `cells_needed` determines which statements an exercise needs.
3. `worker_client` starts a worker inside the `sandbox`. There, `inside.worker` forks a child for each exercise, which
   runs the cells and answers "call this with these arrays" (`inside.child`, `inside.calls`), in messages of
   `inside.frames`. `remote` turns this into a subject that is called like a function of this process.
4. `exam` runs the cases; `compare` decides whether an answer is right, `diagnose` explains what is wrong.
5. `report` and `grades_folder` write the results.

`check` runs the same exam on a function of the notebook's own process; `foresight` says when grading will see another.
"""

from course_lib.grader.check import check, hint, use
