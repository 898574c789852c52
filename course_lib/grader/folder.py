"""A folder of submissions: which files are in it, and what each of them is."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.read import Notebook, Unreadable, read

NOTHING = Notebook([], digest="")


@dataclass
class Entry:
    """A submitted file: its name in the grades, where its report goes, what could be read."""

    name: str
    folder: Path = Path()
    notebook: Notebook = NOTHING
    lab: str = ""
    reason: str | None = None  # why it is ungradable


def find(submissions: Path) -> tuple[list[Path], int]:
    """All notebooks below a folder, in order, and how many other files there are. Links to folders are not followed."""
    if not submissions.is_dir():
        raise CourseError(f"{submissions} is not a folder; give the folder that holds the submitted notebooks")
    files, ignored = [], 0
    for folder, folders, names in os.walk(submissions):
        folders[:] = sorted(f for f in folders if f not in (".ipynb_checkpoints", "__MACOSX"))
        for name in sorted(names):
            if name.endswith(".ipynb") and not name.startswith("._"):
                files.append(Path(folder) / name)
            else:
                ignored += 1
    if not files:
        raise CourseError(f"there is no notebook (*.ipynb) below {submissions}")
    return files, ignored


def examine(path: Path, root: Path, lab: str | None) -> Entry:
    """Read a file and decide which lab it is, or why it cannot be graded."""
    entry = Entry(path.relative_to(root).as_posix().removesuffix(".ipynb"))
    try:
        entry.notebook = read(path)
    except Unreadable as error:
        entry.reason = str(error)
        return entry
    owners = Counter(slug for id in entry.notebook.marks if (slug := exercises.lab_of(id)))
    if lab is not None:
        entry.lab = lab
        if lab not in owners:
            other = f"; it looks like {owners.most_common(1)[0][0]}" if owners else ""
            entry.reason = f"it has no exercise of {lab}{other}"
    elif owners:
        entry.lab = min(owners, key=lambda slug: (-owners[slug], slug))
    else:
        entry.reason = "it has no exercise: no cell begins with a mark such as `# EXERCISE: softmax`"
    return entry
