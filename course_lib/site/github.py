"""`course export github` and `course export classroom50`: what a repository needs so that GitHub checks a lab."""

from __future__ import annotations

from pathlib import Path
from string import Template

from course_lib import exercises
from course_lib.files import write_text
from course_lib.site.assignments import NO_NOTEBOOK
from course_lib.site.configure import SETUP
from course_lib.site.paths import SiteError, find_project
from course_lib.site.points import told_points

_TEMPLATES = Path(__file__).parent


def github(lab: str, folder: Path, course: str = "") -> list[Path]:
    """Write a workflow that checks a lab at each push, and beside it the lab's notebook unless one is there.

    Args:
        lab: The lab.
        folder: The folder of the repository that students get a copy of.
        course: What pip installs; by default the repository of `course configure`.

    Returns:
        The files that were written.

    Raises:
        SiteError: If there is no such lab, or it is not known where the course is.
    """
    course = _source(lab, course)
    workflow = _write(folder / ".github" / "workflows" / "check.yml", "github.yml.template", lab, course)
    return [workflow, *_notebook(lab, folder, course)]


def classroom50(lab: str, folder: Path, course: str = "") -> list[Path]:
    """Write the autograder of a lab for Classroom 50, and beside it the lab's notebook unless one is there.

    Args:
        lab: The lab.
        folder: A folder, from which both go to their places.
        course: What pip installs; by default the repository of `course configure`.

    Returns:
        The files that were written.

    Raises:
        SiteError: If there is no such lab, or it is not known where the course is.
    """
    course = _source(lab, course)
    return [_write(folder / "autograder.py", "classroom50.py.template", lab, course), *_notebook(lab, folder, course)]


def slug(lab: str) -> str:
    """Return the name of a lab as Classroom 50 writes those of assignments, "ch01-attention"."""
    return lab.replace("_", "-")


def _write(path: Path, template: str, lab: str, course: str) -> Path:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    write_text(path, Template(text).substitute(lab=lab, course=course, slug=slug(lab)))
    return path


def _source(lab: str, course: str) -> str:
    """Return what pip installs, once it is sure that the lab can be exported; see `github`."""
    if lab not in exercises.labs():
        raise SiteError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    project = find_project()
    if not (project.labs / f"{lab}.ipynb").is_file():
        raise SiteError(NO_NOTEBOOK.format(lab=lab))
    if not course:
        repository = project.config()["repository"]
        if not repository["url"]:
            raise SiteError(
                "GitHub has to install the course: run `course configure --repository URL`, or give --course"
            )
        course = f"git+{repository['url']}@{repository['branch']}"
    if any(sign in course for sign in "'\"\\") or not course.isprintable():
        raise SiteError(
            f"--course is what pip installs, such as git+https://github.com/OWNER/NAME@main, not {course!r}"
        )
    return course


def _notebook(lab: str, folder: Path, course: str) -> list[Path]:
    """Write the notebook of a lab, unless one is there, and return what was written."""
    notebook = folder / f"{lab}.ipynb"
    if notebook.exists():
        return []
    # Its set-up cell installs the course too, and from the same place: students cannot read a private fork.
    text = told_points(find_project().labs / f"{lab}.ipynb").decode()
    write_text(notebook, SETUP.sub(lambda found: found[1] + course + found[2], text, count=1))
    return [notebook]
