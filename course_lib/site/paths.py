"""Where the sources of the book are, and where what is made from them goes: all of it below `_build/`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import course_lib
from course_lib.checkout import commit_of, find_checkout
from course_lib.errors import CourseError


class SiteError(CourseError):
    """The site cannot be built, served or configured as asked; the message says what to do."""


@dataclass(frozen=True)
class Project:
    """A checkout of the course: its sources, and the places below `_build/` that the build writes."""

    root: Path

    @property
    def labs(self) -> Path:
        return self.root / "labs"

    @property
    def library(self) -> Path:
        """The `course_lib` that the labs run with: the checkout's own where it has one."""
        own = self.root / "course_lib"
        return own if own.is_dir() else Path(course_lib.__file__).parent

    @property
    def build(self) -> Path:
        return self.root / "_build"

    @property
    def stage(self) -> Path:
        return self.build / "site-src"

    @property
    def executed(self) -> Path:
        return self.build / "executed"

    @property
    def results(self) -> Path:
        return self.build / "results"

    @property
    def html(self) -> Path:
        return self.build / "html"

    @property
    def preview(self) -> Path:
        """Where a build of one lab alone goes: never in place of the whole site."""
        return self.build / "preview"

    def documents(self) -> list[str]:
        """The pages named in `_toc.yml`, in reading order, without suffix: `["book/index", "labs/ch01_heads", ...]`."""
        toc = self._yaml("_toc.yml")
        found: list[str] = [toc["root"]]

        def walk(node: object) -> None:
            if isinstance(node, list):
                for item in node:
                    walk(item)
            elif isinstance(node, dict):
                if "file" in node:
                    found.append(node["file"])
                for name in ("parts", "chapters", "sections", "subtrees", "entries"):
                    walk(node.get(name, []))

        walk(toc)
        return found

    def config(self) -> dict[str, Any]:
        """The settings in `_config.yml`."""
        return self._yaml("_config.yml")

    def _yaml(self, name: str) -> dict[str, Any]:
        import yaml  # comes with the book's extra; what needs no pages runs without it

        return yaml.safe_load((self.root / name).read_text(encoding="utf8"))

    def lab_slugs(self) -> list[str]:
        """The labs of the book, in reading order."""
        return [name.removeprefix("labs/") for name in self.documents() if name.startswith("labs/")]

    def commit(self) -> str:
        """The commit checked out, with a plus when files differ from it; "none" outside git."""
        return commit_of(self.root)


def find_project(start: Path | None = None) -> Project:
    """The project that holds `start` (the working directory), else the checkout that `course_lib` comes from."""
    return Project(find_checkout(start))


def digest_of(*parts: str | bytes) -> str:
    """One hash of several texts; their boundaries count."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf8") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def digest_of_tree(folder: Path, skip: tuple[str, ...] = ()) -> str:
    """One hash of every file below a folder, names included. `skip` names files or folders directly below it."""
    parts: list[str | bytes] = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.parts[0] not in skip and "__pycache__" not in inside.parts:
            parts += [inside.as_posix(), path.read_bytes()]
    return digest_of(*parts)
