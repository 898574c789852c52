"""Run Jupyter Book on the staged sources and put the finished site in place in one step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from course_lib.site.finish import finish
from course_lib.site.paths import Project, SiteError
from course_lib.site.progress import Progress

PROBLEM = re.compile(r"(WARNING|ERROR|CRITICAL)\b")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def render(project: Project, target: Path, strict: bool) -> None:
    """Build the pages into the folder `target`. The earlier site there stays unless this one is complete.

    Errors: SiteError, with the warnings, when Sphinx fails or (strict) warns, or when a page is missing.
    """
    # Every time from nothing: an incremental build keeps stale navigation, and passes when a failed one is repeated.
    work = project.build / "sphinx"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(project.stage)]
    command += ["--path-output", str(work), "--all", *(["-W", "-n", "--keep-going"] if strict else [])]
    env = {**os.environ, "PYTHONPATH": str(project.library.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    log = project.build / "sphinx.log"
    with open(log, "wb") as out, Progress("pages") as progress:
        process = subprocess.Popen(command, cwd=project.root, env=env, stdout=out, stderr=out)
        try:
            while process.poll() is None:
                progress.tick(_last_line(log.read_text(errors="replace")))
                try:
                    process.wait(timeout=0.3)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise SiteError(_explanation(project, log.read_text(errors="replace")))
    html = work / "_build" / "html"
    missing = [name for name in project.documents() if not (html / f"{name}.html").is_file()]
    if missing:
        raise SiteError(f"Jupyter Book reported success but wrote no page for {', '.join(missing)}; see {log}")
    if problems := _problems(project, log.read_text(errors="replace")):  # a strict build has failed already
        print("the pages have problems:\n  " + "\n  ".join(problems), flush=True)
    finish(project, html)
    shutil.rmtree(target, ignore_errors=True)
    html.replace(target)
    shutil.rmtree(work, ignore_errors=True)


def _last_line(text: str) -> str:
    lines = ANSI.sub("", text).replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if any(map(str.isalpha, line))), "starting")


def _explanation(project: Project, text: str) -> str:
    if problems := _problems(project, text):
        return "the pages have problems:\n  " + "\n  ".join(problems)
    return "the pages could not be built:\n  " + "\n  ".join(ANSI.sub("", text).splitlines()[-15:])


def _problems(project: Project, text: str) -> list[str]:
    """The warnings of a log, each once, with paths as the author knows them."""
    lines = ANSI.sub("", text).replace(f"{project.stage}{os.sep}", "").splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if PROBLEM.search(line)))
