"""`course export github-classroom`: what a repository needs so that GitHub checks a lab at each push."""

from __future__ import annotations

from pathlib import Path
from string import Template

from course_lib import exercises
from course_lib.files import write_text
from course_lib.site.assignments import NO_NOTEBOOK
from course_lib.site.configure import SETUP
from course_lib.site.paths import SiteError, find_project
from course_lib.site.points import told_points

_WORKFLOW = Path(__file__).parent / "classroom.yml.template"


def github_classroom(lab: str, folder: Path, course: str = "") -> list[Path]:
    """Write the workflow, and beside it the lab's notebook unless one is there.

    Args:
        lab: The lab.
        folder: The folder of the repository that students get a copy of.
        course: What pip installs; by default the repository of `course configure`.

    Returns:
        The files that were written.

    Raises:
        SiteError: If there is no such lab, or it is not known where the course is.
    """
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
    workflow, notebook = folder / ".github" / "workflows" / "check.yml", folder / f"{lab}.ipynb"
    write_text(workflow, Template(_WORKFLOW.read_text(encoding="utf-8")).substitute(lab=lab, course=course))
    if notebook.exists():
        return [workflow]
    # Its set-up cell installs the course too, and from the same place: students cannot read a private fork.
    text = told_points(project.labs / f"{lab}.ipynb").decode()
    write_text(notebook, SETUP.sub(lambda found: found[1] + course + found[2], text, count=1))
    return [workflow, notebook]
