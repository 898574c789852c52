"""`course new-exercise LAB ID`: an exercise of an instructor's own, or private cases, for them to fill in."""

from __future__ import annotations

import difflib
import json
import keyword
import re
from pathlib import Path
from string import Template

import nbformat

from course_lib import exercises
from course_lib.exercises.own import FOLDER
from course_lib.files import write_text
from course_lib.site.paths import SiteError, find_project

TEMPLATES = Path(__file__).parent / "new_lab_templates"
NAME = re.compile(r"[a-z][a-z0-9_]*")


def new_exercise(lab: str, id: str, root: Path | None = None) -> list[Path]:
    """Write the file of an exercise, and a notebook with its three cells, into `own_exercises`.

    If the lab has an exercise of this id already, the file is for private cases, and there is no notebook.

    Args:
        lab: The lab: one of the course, or a new name.
        id: The id of the exercise.
        root: A folder of the checkout; by default the working directory.

    Returns:
        The files that are new.

    Raises:
        SiteError: If a name is no name, or taken; then nothing is written.
    """
    for name in (lab, id):
        if not NAME.fullmatch(name) or keyword.iskeyword(name):
            raise SiteError(f"{name!r} is no name; take lower-case letters, digits and _, as in ch01_attention")
    folder = find_project(root).root / FOLDER / lab
    file, home = folder / f"{id}.py", exercises.lab_of(id)
    if file.exists():
        raise SiteError(f"{file} is there already; edit it, or choose another name")
    if home not in (None, lab):
        raise SiteError(f"{home} has an exercise {id}; for private cases, type course new-exercise {home} {id}")
    close = difflib.get_close_matches(
        id, exercises.lab(lab).exercises if lab in exercises.labs() else (), n=1, cutoff=0.8
    )
    if close and home is None:
        raise SiteError(
            f"{lab} has an exercise {close[0]}; for private cases of it, type course new-exercise {lab} {close[0]}; "
            "for an exercise of your own, choose a name that is less alike"
        )
    words = {"exercise": id, "see_literal": json.dumps(f"the task of {id}")}
    if home == lab:
        write_text(file, (TEMPLATES / "private.py.template").read_text(encoding="utf8"))
        return [file]
    write_text(file, Template((TEMPLATES / "exercise.py.template").read_text(encoding="utf8")).substitute(words))
    task = f"### Exercise: `{id}`\n\n*1 point, about 5 minutes.* Takes two tensors. Returns the share that agrees."
    stub = f"# EXERCISE: {id}\ndef {id}(predictions, targets):\n    raise NotImplementedError"
    cells = [
        nbformat.v4.new_code_cell("import torch\n\nfrom course_lib.grader import check, use", id="imports"),
        nbformat.v4.new_markdown_cell(task, id="task"),
        nbformat.v4.new_code_cell(stub, id="stub"),
        nbformat.v4.new_code_cell(f'check("{id}", {id})\n{id} = use("{id}", {id})', id="check"),
    ]
    notebook = file.with_suffix(".ipynb")
    write_text(notebook, nbformat.writes(nbformat.v4.new_notebook(cells=cells)) + "\n")
    return [file, notebook]
