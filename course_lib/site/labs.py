"""`course lab`: the learner's own copies of the labs in `my_labs/`, opened in JupyterLab."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

from course_lib.files import write_bytes
from course_lib.site.paths import Project, SiteError, find_project
from course_lib.site.points import told_points


def copy_labs(project: Project, fresh: str | None = None) -> list[Path]:
    """Copy the labs that are missing in `my_labs/`; never change an existing one, except the one to renew.

    Args:
        project: The checkout.
        fresh: The lab to renew; the earlier copy is kept beside it.

    Returns:
        The paths of the new copies.
    """
    made = []
    for source in _sources(project):
        mine = project.root / "my_labs" / source.name
        if mine.exists() and source.stem == fresh:
            # A notebook by its name too, which JupyterLab opens as one.
            names = (mine.with_name(f"{mine.stem}-old{number}.ipynb") for number in itertools.count(1))
            backup = next(name for name in names if not name.exists())
            mine.rename(backup)
            print(f"your earlier {mine.name} is now {backup.name}")
        if not mine.exists():
            write_bytes(mine, told_points(source))
            made.append(mine)
    return made


def _sources(project: Project) -> list[Path]:
    """Return the notebooks that learners get: the labs, and in a student version those of the instructor's own."""
    return sorted([*project.labs.glob("*.ipynb"), *(project.root / "own_labs").glob("*.ipynb")])


def open_labs(slug: str | None = None, fresh: bool = False, start: bool = True, root: Path | None = None) -> int:
    """Bring `my_labs/` up to date and start JupyterLab in it, until Ctrl-C.

    Args:
        slug: The lab to open, or the path of its copy; by default the first one.
        fresh: Whether to renew it, keeping the old copy beside it.
        start: Whether to start JupyterLab.
        root: A folder of the checkout; by default the working directory.

    Returns:
        The exit status of JupyterLab.

    Raises:
        SiteError: If there is no such lab, or JupyterLab is not installed.
    """
    project = find_project(root)
    mine = project.root / "my_labs"
    if fresh and slug is None:
        raise SiteError("say which lab to renew: course lab SLUG --fresh")
    own = () if fresh else mine.glob("*.ipynb")  # which may be the learner's own; only a lab can be renewed
    known = sorted({path.stem for path in (*_sources(project), *own)})
    slug = slug and Path(slug).name.removesuffix(".ipynb")  # the path of a copy, as a shell completes it
    if slug and slug not in known:
        raise SiteError(f"there is no lab {slug}; there are {', '.join(known)}")
    if made := copy_labs(project, slug if fresh else None):
        names = ", ".join(path.name for path in made)
        print(f"my_labs: copied {names if len(made) < 4 else f'{len(made)} labs'}")
    if not start:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise SiteError("JupyterLab is not installed here: run `make lab`, or pip install '.[lab]'")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={mine}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("You are root, so whatever a notebook runs may change anything on this machine; better use an account.")
        command.append("--allow-root")  # without it Jupyter would not start
    command.append(str(mine / f"{slug or project.lab_slugs()[0]}.ipynb"))
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(command, check=False).returncode
    return 0
