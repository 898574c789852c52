"""Rendering with Jupyter Book: builds the staged sources and moves the finished site into place in one step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from course_lib.files import write_text
from course_lib.site.finish import finish
from course_lib.site.paths import Project, SiteError

PROBLEM = re.compile(r"(WARNING|ERROR|CRITICAL)\b")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def render(project: Project, target: Path, strict: bool) -> None:
    """Build the pages into the folder `target`; an earlier site there stays unless the new one is complete.

    Raises:
        SiteError: If Sphinx failed or, when strict, warned; or a page is missing.
    """
    # Always from scratch: an incremental build keeps stale navigation, and passes when a failed one is repeated.
    work = project.build / "sphinx"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    problems = _build_pages(project, work, strict)
    html = work / "_build" / "html"
    missing = [name for name in project.documents() if not (html / f"{name}.html").is_file()]
    if missing:
        raise SiteError(
            f"Jupyter Book reported success but wrote no page for {', '.join(missing)}; see _build/sphinx.log"
        )
    if problems:  # a strict build has failed already
        print(_said(problems), flush=True)
    finish(project, html)
    shutil.rmtree(target, ignore_errors=True)
    html.replace(target)
    shutil.rmtree(work, ignore_errors=True)


def _build_pages(project: Project, work: Path, strict: bool) -> list[str]:
    """Run Jupyter Book; return its warnings, each once, with paths relative to the sources."""
    # `course_lib.site` comes first, for what it says of nbformat.
    program = "import course_lib.site; from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(project.stage)]
    command += ["--path-output", str(work), "--all", *(["-W", "-n", "--keep-going"] if strict else [])]
    env = {"PYTHONPATH": str(project.library.parent), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    interval = 0.5 if sys.stderr.isatty() else 15  # seconds between two lines of progress; a log needs few
    lines: list[str] = []
    with (
        subprocess.Popen(
            command,
            cwd=project.root,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
        tqdm(process.stdout, desc="pages", unit="line", mininterval=interval, leave=False) as output,
    ):
        for line in output:
            lines.append(ANSI.sub("", line).replace(f"{project.stage}{os.sep}", "").strip())
            output.set_postfix_str(lines[-1][:80], refresh=False)
    write_text(project.build / "sphinx.log", "\n".join(lines))
    problems = list(dict.fromkeys(line for line in lines if PROBLEM.search(line)))
    if process.returncode:
        raise SiteError(_said(problems) if problems else "the pages could not be built:\n  " + "\n  ".join(lines[-15:]))
    return problems


def _said(problems: list[str]) -> str:
    return "\n  ".join(["the pages have problems:", *problems])
