"""Changes to the finished pages: removes scripts that are not needed, and adds the learners' notebooks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import jinja2

from course_lib.files import write_text
from course_lib.site.paths import Project

# Thebe would fetch a kernel from another host, and its loader is put on every page twice, even when it is off.
# Font Awesome's script (1.5 MB) only turns icons into SVG; the theme's style sheet draws them with its web font.
UNWANTED = re.compile(
    r"""<script\b[^>]*\bsrc="[^"]*(?:fontawesome|sphinx-thebe|thebe)[^"]*\.js[^"]*"[^>]*>\s*</script>
      | <script\b[^>]*>\s*(?:const|var|let)?\s*(?:const\s+)?THEBE_JS_URL\b.*?</script>
      | <script\b[^>]*\btype="text/x-thebe-config"[^>]*>.*?</script>
      | <script>\s*kernelName\s*=.*?</script>
      | <link\b[^>]*\bhref="[^"]*sphinx-thebe[^"]*"[^>]*>""",
    re.VERBOSE | re.DOTALL,
)
UNWANTED_FILES = (
    "_static/scripts/fontawesome.js*",
    "_static/sphinx-thebe*",
    "_static/*webpack-macros.html",
    "_sources",
)
# For readers who listen: the side bar's arrows have no name, those of the search button and of folded code are not what
# is written on them, and the entries of the bibliography are not items of a list.
REPAIRS = {
    '<summary aria-label="Toggle hidden content">': "<summary>",
    '<summary><span class="toctree-toggle"': '<summary aria-label="Sections"><span class="toctree-toggle"',
    '<button class="btn search-button-field search-button__button pst-js-only" title="Search" aria-label="Search"': (
        '<button class="btn search-button-field search-button__button pst-js-only"'
    ),
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    # A script chooses between light and dark. Without scripts there would be neither, and charts would have no lines.
    ' data-theme="auto">': ' data-theme="light">',
}


def finish(project: Project, html: Path) -> None:
    """Apply all changes to the site in place."""
    for path in html.rglob("*.html"):
        if "_static" not in path.relative_to(html).parts:
            write_text(path, _cleaned(path.read_text(encoding="utf8")))
    for pattern in UNWANTED_FILES:
        for path in html.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # The download is the learner's notebook, stubs and all, not the solved one that the page was made from.
    for lab in project.lab_slugs():
        shutil.copy(project.labs / f"{lab}.ipynb", html / "labs")
    front_door = jinja2.Template(Path(__file__).with_name("front_door.html").read_text("utf-8"), autoescape=True)
    title, first = project.config()["title"], f"{project.documents()[0]}.html"
    write_text(html / "index.html", front_door.render(title=title, first=first))


def _cleaned(text: str) -> str:
    text = UNWANTED.sub("", text)
    for old, new in REPAIRS.items():
        text = text.replace(old, new)
    return text
