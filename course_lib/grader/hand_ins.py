"""Which hand-in of a lab a file is: the first one, or a later one, which meets hidden cases of its own as well.

The first hand-ins of a class all meet the same cases. A later one meets these, and what passes them meets others, the
same in all second ones, and so on. So equal wrong answers earn equal points in whichever hand-in, and nothing which
somebody may have found out about the first cases, such as a table of their answers, is enough in the second.

Numbers are kept by content: the same code is the same hand-in, wherever its file lies and whenever it is graded again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.grader.grades_folder import HAND_INS, sha256
from course_lib.grader.submission import Submission


def number_hand_ins(
    out: Path,
    found: Sequence[Submission],
    times: Mapping[str, str],
    team: Callable[[str, str], tuple[str, list[str]] | None],
) -> None:
    """Say of each submission which hand-in it is, and keep that for later runs.

    What is new since the last run comes after what was there, in the order of the times of the files.

    Args:
        out: The folder of grades.
        found: The submissions.
        times: When each file was modified, by the name of the submission; texts that sort by time.
        team: Returns whose a submission is, by its name and lab; see `Class.team`. A file of nobody is handed in again
            where other content is found under its name.

    Raises:
        CourseError: If what was kept cannot be read.
    """
    path = out / HAND_INS
    try:
        known = {key: list(digests) for key, digests in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        known = {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CourseError(f"{path} is damaged; restore it, or delete it: the times of files decide then") from error
    for submission in sorted(found, key=lambda each: (times.get(each.name, ""), each.name)):
        if submission.reason:
            continue
        whose = team(submission.name, submission.lab)
        key = f"{submission.lab} of {whose[0]}" if whose else f"{submission.lab} in {submission.name}"
        digests = known.setdefault(key, [])
        digest = sha256(json.dumps(submission.notebook.cells))[:16]
        if digest not in digests:
            digests.append(digest)
        submission.hand_in = digests.index(digest) + 1
    write_text(path, json.dumps(known, indent=1), private=True)
