"""`course book`: run the labs whose result may have changed, then write the site."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.course_file import read_course
from course_lib.files import acquire_lock, write_text
from course_lib.grader.deadlines import announced
from course_lib.preset import course_seed, preset
from course_lib.site import cache, records, replication, shown
from course_lib.site.execute import execute, room_for
from course_lib.site.lab_run import LabRun
from course_lib.site.page import page
from course_lib.site.paths import Project, SiteError, digest_of, digest_of_tree, find_project
from course_lib.site.points import with_points
from course_lib.site.render import render
from course_lib.site.solve import solve
from course_lib.site.stage import stage

MADE_WITH = ("jupyter-book", "sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "myst-nb", "sphinx-design")


def build(strict: bool = True, only: str | None = None, root: Path | None = None, jobs: int | None = None) -> None:
    """Build the site into `_build/html`, one build at a time.

    Args:
        strict: Whether a broken link, or a number that no lab measured, is an error.
        only: The only lab to run, for a preview in `_build/preview`. The other labs appear without results, nothing is
            strict, and of the numbers that no lab measured only those with this lab's prefix are listed.
        root: A folder of the checkout; by default the working directory.
        jobs: The number of labs that run at a time; None for as many as there is room for.

    Raises:
        SiteError: If something fails; the message says what and where, and the earlier site stays as it was.
    """
    began = time.monotonic()
    project = find_project(root)
    listed = project.lab_slugs()
    if only is not None and only not in listed and not (project.labs / f"{only}.ipynb").is_file():
        raise SiteError(f"there is no lab {only}; there are {', '.join(listed)}")
    if unlisted := {path.stem for path in project.labs.glob("*.ipynb")} - set(listed):
        raise SiteError(
            f"_toc.yml does not list labs/{min(unlisted)}; add it below its chapter, or move the notebook away"
        )
    html = project.html if only is None else project.preview
    project.build.mkdir(exist_ok=True)
    # Builds share folders.
    with acquire_lock(project.build / "build.lock", "Another build of this book is running; waiting for it."):
        fresh = _build(project, html, strict and only is None, only, jobs)
    state = "written" if fresh else "unchanged"
    print(f"site: {state} in {time.monotonic() - began:.0f} s; open {html / 'index.html'}")


def _build(project: Project, html: Path, strict: bool, only: str | None, jobs: int | None) -> bool:
    """Execute, collect, stage and render; return whether pages were written, False if nothing had changed."""
    notebooks = {lab: read_lab(project, lab) for lab in project.lab_slugs()}
    course = read_course(project.root)
    due = {lab: announced(lab, course) for lab in notebooks}  # a mistake in a deadline is told before labs run
    executed = run_labs(project, notebooks, only, jobs)
    numbers = {lab: records.collect(lab, notebook) for lab, notebook in executed.items()}
    for lab, found in numbers.items():
        records.write(project, lab, found)
    pages = {lab: with_points(lab, page(lab, notebook, executed.get(lab))) for lab, notebook in notebooks.items()}
    measured = {lab: {**notebook.metadata.get("course", {}), "due": due[lab]} for lab, notebook in executed.items()}
    cited = records.merge(project, numbers)
    own = {lab: notebook for lab, notebook in notebooks.items() if not cache.released(project, lab)}
    replication.attach(project, cited, replication.changed_since(project, solved_labs(own)))
    drawn = shown.merge({lab: shown.collect(lab, notebook) for lab, notebook in executed.items()})
    staged = stage(project, pages, measured, cited, drawn)
    if only is not None:
        _say_what_no_page_cites(project, numbers[only])

    stamp = html.with_suffix(".stamp")
    tools = [f"{name} {version(name)}" for name in MADE_WITH]
    state = digest_of(digest_of_tree(staged), digest_of_tree(project.library), str(strict), *tools)
    if stamp.is_file() and stamp.read_text() == state and (html / "index.html").is_file():
        return False
    stamp.unlink(missing_ok=True)
    render(project, html, strict)
    write_text(stamp, state)
    return True


def _say_what_no_page_cites(project: Project, numbers: records.Records) -> None:
    """Print the numbers of a lab that no page cites, since often their keys are misspelt."""
    pages = "".join(path.read_text(encoding="utf8") for path in (project.root / "book").rglob("*.md"))
    uncited = sorted(numbers.keys() - set(re.findall(r"\{number\}`([^ `]+)", pages)))
    if uncited:
        print(f"{len(uncited)} of {len(numbers)} numbers are cited by no page: {', '.join(uncited)}")


def read_lab(project: Project, lab: str) -> NotebookNode:
    """Read the learner's notebook of a lab."""
    try:
        return nbformat.read(project.labs / f"{lab}.ipynb", as_version=4)
    except FileNotFoundError:
        raise SiteError(f"_toc.yml names labs/{lab}, but there is no labs/{lab}.ipynb") from None
    except nbformat.reader.NotJSONError as error:
        raise SiteError(f"labs/{lab}.ipynb is not a notebook: {error}") from None


def run_labs(
    project: Project, notebooks: dict[str, NotebookNode], only: str | None = None, jobs: int | None = None
) -> dict[str, NotebookNode]:
    """Return every lab executed: from the cache if nothing that it depends on has changed, otherwise run now.

    A student version has no references to run its labs with, but the runs of the full course.
    """
    executed = {lab: kept for lab in notebooks if (kept := cache.released(project, lab))}
    solved = solved_labs({lab: notebook for lab, notebook in notebooks.items() if lab not in executed})
    keys = {lab: cache.key(project, lab, notebook) for lab, notebook in solved.items()}
    executed.update({lab: kept for lab in solved if (kept := cache.load(project, keys[lab]))})
    todo = {lab: solved[lab] for lab in solved if lab not in executed and only in (None, lab)}
    if executed:
        print(f"labs: {len(executed)} unchanged since they were last run ({', '.join(executed)})")
    if todo:
        jobs = jobs or room_for()
        at_once = f", {jobs} at a time" if min(jobs, len(todo)) > 1 else ""
        print(f"labs: running {', '.join(reversed(todo))} ({preset()} preset){at_once}")

        def keep(run: LabRun, notebook: NotebookNode) -> None:
            cache.store(project, keys[run.lab], notebook)
            executed[run.lab] = notebook

        # The last labs take longest, and the primer a few seconds: in this order no core waits long at the end.
        runs = [LabRun(lab, notebook, course_seed()) for lab, notebook in reversed(todo.items())]
        execute(project, runs, keep, jobs)
    return {lab: executed[lab] for lab in notebooks if lab in executed}


def solved_labs(notebooks: Mapping[str, NotebookNode]) -> dict[str, NotebookNode]:
    """Return the labs with the references in place of their stubs.

    Raises:
        SiteError: If a stub's exercise does not exist.
    """
    solved = {}
    for lab, notebook in notebooks.items():
        try:
            solved[lab] = solve(notebook)
        except LookupError as error:
            raise SiteError(f"labs/{lab}.ipynb: {error}") from None
    return solved
