"""The paths of the book's sources and of what is built from them, all of it below `_build/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import course_lib
from course_lib.checkout import find_checkout
from course_lib.course_file import read_course
from course_lib.errors import CourseError


class SiteError(CourseError):
    """The error raised when the site cannot be built, served or configured; the message says what to do."""


class Project:
    """A checkout of the course: the paths of its sources, and of what the build writes below `_build/`.

    Attributes:
        library: The folder of the `course_lib` that the labs run with: the checkout's own if it has one.
        stage: The folder of the sources that Sphinx reads.
        executed: The folder of the notebooks with their outputs.
        results: The folder of the numbers that the labs measured.
        html: The folder of the site.
        preview: The folder for a build of one lab alone, which never replaces the whole site.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.labs = root / "labs"
        own = root / "course_lib"
        self.library = own if own.is_dir() else Path(course_lib.__file__).parent
        self.build = root / "_build"
        self.stage = self.build / "site-src"
        self.executed = self.build / "executed"
        self.results = self.build / "results"
        self.html = self.build / "html"
        self.preview = self.build / "preview"

    def documents(self) -> list[str]:
        """List the pages in `_toc.yml`, in reading order, without suffix: `["book/index", "labs/ch01_heads", ...]`."""
        toc = self.toc()
        return [toc["root"], *documents_in(toc)]

    def toc(self) -> dict[str, Any]:
        """Read the table of contents in `_toc.yml`."""
        return self._yaml("_toc.yml")

    def config(self) -> dict[str, Any]:
        """Read the settings in `_config.yml`, with the name and the authors that `course.toml` gives the course."""
        config, course = self._yaml("_config.yml"), read_course(self.root)
        if course.name:
            config["title"] = course.name
            theme = config.get("sphinx", {}).get("config", {}).get("html_theme_options", {})
            theme.setdefault("logo", {})["text"] = course.name
        if course.authors:
            config["author"] = ", ".join(course.authors)
        return config

    def _yaml(self, name: str) -> dict[str, Any]:
        import yaml  # comes with the book's extra; what needs no pages runs without it

        return yaml.safe_load((self.root / name).read_text(encoding="utf8"))

    def lab_slugs(self) -> list[str]:
        """List the labs of the book in reading order."""
        return [name.removeprefix("labs/") for name in self.documents() if name.startswith("labs/")]


def find_project(start: Path | None = None) -> Project:
    """Find the project that contains `start` (by default the working directory), or else that of `course_lib`."""
    return Project(find_checkout(start))


def documents_in(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the pages of an entry of `_toc.yml`: its own, and those of the entries inside it."""
    if "file" in entry:
        yield entry["file"]
    for name in ("parts", "chapters", "sections", "subtrees", "entries"):
        for inside in entry.get(name, ()):
            yield from documents_in(inside)


def digest_of(*parts: str | bytes) -> str:
    """Compute one hash of several texts; their boundaries count."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf8") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def digest_of_tree(folder: Path) -> str:
    """Compute one hash of all files below a folder, including their names."""
    parts: list[str | bytes] = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in inside.parts:
            parts += [inside.as_posix(), path.read_bytes()]
    return digest_of(*parts)
