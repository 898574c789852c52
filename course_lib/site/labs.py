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


def copy_labs(project: Project, fresh: str | None = None) -> list[Path]:
    """Copy the labs that `my_labs/` lacks; never touch one that is there, unless it is the one to renew.

    Returns the copies made. Errors: SiteError when there is no lab `fresh`.
    """
    mine = project.root / "my_labs"
    sources = {path.stem: path for path in sorted(project.labs.glob("*.ipynb"))}
    if fresh is not None and fresh not in sources:
        raise SiteError(f"there is no lab {fresh}; there are {', '.join(sources)}")
    mine.mkdir(exist_ok=True)
    made = []
    for slug, source in sources.items():
        copy = mine / source.name
        if copy.exists() and slug == fresh:
            backup = _free_name(copy)
            copy.rename(backup)
            print(f"your earlier {copy.name} is now {backup.name}")
        if not copy.exists():
            write_bytes(copy, source.read_bytes())
            made.append(copy)
    return made


def _free_name(copy: Path) -> Path:
    """`lab-old1.ipynb`, or with the next number when that is there: a notebook, which JupyterLab opens as one."""
    names = (copy.with_name(f"{copy.stem}-old{number}{copy.suffix}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def open_labs(slug: str | None = None, fresh: bool = False, start: bool = True, root: Path | None = None) -> int:
    """Bring `my_labs/` up to date and start JupyterLab in it, until Ctrl-C; return its exit status.

    fresh: renew the lab `slug`, keeping the old copy beside it. start: whether to start JupyterLab.
    Errors: SiteError for a lab that does not exist, or when JupyterLab is not installed.
    """
    project = find_project(root)
    if fresh and slug is None:
        raise SiteError("say which lab to renew: course lab SLUG --fresh")
    made = copy_labs(project, slug if fresh else None)
    mine = project.root / "my_labs"
    if slug and not (mine / f"{slug}.ipynb").is_file():
        raise SiteError(
            f"there is no lab {slug}; there are {', '.join(sorted(path.stem for path in mine.glob('*.ipynb')))}"
        )
    if made:
        print(f"my_labs: copied {', '.join(path.name for path in made)}")
    if not start:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise SiteError("JupyterLab is not installed here: run `make lab`, or pip install '.[lab]'")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={mine}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("You are root, so whatever a notebook runs may change anything on this machine; better use an account.")
        command.append("--allow-root")  # without it Jupyter would not start
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run([*command, *([str(mine / f"{slug}.ipynb")] if slug else [])], check=False).returncode
    return 0
