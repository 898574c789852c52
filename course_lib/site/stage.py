"""Staging of all that Sphinx reads in `_build/site-src`, so that building never changes a source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from course_lib.files import write_text
from course_lib.site.paths import Project
from course_lib.site.records import Records
from course_lib.site.shown import Shown


def stage(
    project: Project, pages: dict[str, NotebookNode], measured: dict[str, dict], records: Records, shown: Shown
) -> Path:
    """Write the staging folder from scratch: configuration, prose, labs, MathJax, numbers, figures and tables."""
    out = project.stage
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copytree(project.root / "book", out / "book", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(project.root / "_toc.yml", out)
    _write_config(project, out / "_config.yml")
    (out / "labs").mkdir()
    for lab, notebook in pages.items():
        nbformat.write(notebook, out / "labs" / f"{lab}.ipynb")
    for name, found in {"results": records, "shown": shown, "labs": measured}.items():
        write_text(out / f"{name}.json", json.dumps(found, indent=1, sort_keys=True))
    _copy_mathjax(out / "book" / "_static" / "vendor" / "mathjax")
    return out


def _write_config(project: Project, path: Path) -> None:
    """Switch on the buttons that need a repository only where one is set (`course configure --repository URL`)."""
    config = project.config()
    with_repository = bool((config.get("repository") or {}).get("url"))
    html = config.setdefault("html", {})
    for button in ("use_repository_button", "use_issues_button", "use_edit_page_button"):
        html[button] = with_repository
    write_text(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _copy_mathjax(out: Path) -> None:
    """Copy MathJax into the site, so that formulas need no other host."""
    from course_lib.data.packages.fetching import fetch

    package = fetch("mathjax")
    shutil.copytree(package / "es5", out)
    shutil.copy(package / "LICENSE", out)
