"""`course progress`: which exercises a learner has solved, from their own copies of the labs in `my_labs/`.

An exercise is solved if the answer in the copy passes its visible checks. They run as in `course check`, in a sandbox.
What came out is kept beside the copies, so that only a copy that has changed is checked again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from course_lib import exercises
from course_lib.files import write_text
from course_lib.grader.class_page import UNTOUCHED
from course_lib.grader.exam import Exam
from course_lib.grader.hidden import course_digest
from course_lib.grader.notebook import Notebook, Unreadable, read_notebook
from course_lib.grader.sandbox import Workers, choose_level
from course_lib.grader.submission import grade
from course_lib.site.paths import Project, find_project

KEPT = ".progress.json"


@dataclass
class Done:
    """What a learner has done in one lab.

    Attributes:
        lab: The lab.
        solved: For each of its exercises whether the answer passes; empty if nothing has been written yet.
        problem: Why the copy cannot be checked, if so.
    """

    lab: str
    solved: dict[str, bool]
    problem: str = ""


def progress(root: Path | None = None) -> list[str]:
    """Return what a learner has solved so far, a line for each lab that they have begun.

    Args:
        root: A folder of the checkout; by default the working directory.

    Raises:
        CourseError: If no sandbox works here.
    """
    project = find_project(root)
    mine = project.root / "my_labs"
    labs = [lab for lab in project.lab_slugs() if lab in exercises.labs()]
    if not any((mine / f"{lab}.ipynb").is_file() for lab in labs):
        return [f"Nothing yet: my_labs/ has no copy of a lab. `course lab {labs[0]}` makes them and opens the first."]
    done = _look(project, mine, labs)
    begun = [each for each in done if each.solved or each.problem]
    if not begun:
        return [
            "Nothing yet: in your copies in my_labs/, every exercise is as you got it.",
            f"`course lab {labs[0]}` opens the first lab. Save the notebook, and ask again.",
        ]
    width = max(len(each.lab) for each in begun)
    lines = [f"{each.lab.ljust(width)}  {_in_words(each)}" for each in begun]
    solved = sum(sum(each.solved.values()) for each in done)
    total = sum(len(exercises.lab(lab).exercises) for lab in labs)
    lines.append(f"{solved} of {total} exercises solved. These are the visible checks; grading uses fresh numbers.")
    if waiting := [each.lab for each in done if each not in begun]:
        lines.append(f"Not begun: {', '.join(waiting)}")
    return lines


def _in_words(done: Done) -> str:
    """Return what there is to say of a lab that has been begun."""
    if done.problem:
        return f"cannot be checked: {done.problem}"
    still = [id for id, solved in done.solved.items() if not solved]
    count = f"{len(done.solved) - len(still)} of {len(done.solved)}"
    return f"{count} solved; open: {', '.join(still)}" if still else f"{count} solved"


def _look(project: Project, mine: Path, labs: list[str]) -> list[Done]:
    """Return what is done in each lab; a copy that has changed since it was last looked at is checked."""
    kept = _kept(mine)
    found: dict[str, Done] = {}
    now: dict[str, Any] = {}
    todo: dict[str, Notebook] = {}
    for lab in labs:
        found[lab] = Done(lab, {})
        try:
            copy = read_notebook(mine / f"{lab}.ipynb") if (mine / f"{lab}.ipynb").exists() else None
            if copy is None or copy.cells == read_notebook(project.labs / f"{lab}.ipynb").cells:
                continue
        except Unreadable as error:
            found[lab].problem = str(error)
            continue
        earlier, course = kept.get(lab, {}), course_digest(lab)
        if (earlier.get("file"), earlier.get("course")) == (copy.digest, course) and "solved" in earlier:
            found[lab].solved, now[lab] = earlier["solved"], earlier
        else:
            todo[lab] = copy
    if not todo:
        return list(found.values())
    with Workers(choose_level()) as workers:
        for lab, copy in tqdm(todo.items(), desc="checking", unit="lab", disable=None, leave=False):
            results = grade(copy, [Exam(exercise) for exercise in exercises.of_lab(lab)], workers)
            if any(result.outcome not in UNTOUCHED for result in results):
                found[lab].solved = {result.exercise.id: bool(result) for result in results}
            now[lab] = {"file": copy.digest, "course": course_digest(lab), "solved": found[lab].solved}
            write_text(mine / KEPT, json.dumps({**kept, **now}, indent=1) + "\n")  # at once, for the sake of Ctrl-C
    return list(found.values())


def _kept(mine: Path) -> dict[str, Any]:
    """Return what an earlier look found, by lab; a file that is missing or damaged counts as none."""
    try:
        kept = json.loads((mine / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {lab: entry for lab, entry in kept.items() if isinstance(entry, dict)} if isinstance(kept, dict) else {}
