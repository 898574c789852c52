"""The registry of everything that can be fetched (registry.toml), and the folder of the cache."""

from __future__ import annotations

import functools
import hashlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import DataError
from course_lib.settings import check_choices

CHOICES = {"client": ("pip", "npm")}


@dataclass(frozen=True)
class Entry:
    """An entry of registry.toml: a file of a package, pinned by version and hash, and the part of it to keep."""

    name: str
    title: str
    client: str
    package: str
    version: str
    file: str
    sha256: str
    bytes: int
    root: str
    keep: list[str]
    licence: str
    credit: str
    on_demand: bool = False  # fetched when a program or a user asks for it, not by `course data fetch` alone

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)

    @property
    def folder(self) -> Path:
        """The folder of the fetched files; it differs for each version, hash and choice of files."""
        key = hashlib.sha256("\n".join([self.sha256, self.root, *self.keep]).encode()).hexdigest()[:8]
        return cache() / f"{self.name}-{self.version}-{key}"


@functools.cache
def registry() -> dict[str, Entry]:
    """Return all entries by name."""
    tables = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
    return {name: Entry(name=name, **table) for name, table in tables.items()}


def entry(name: str) -> Entry:
    """Return the entry with this name.

    Raises:
        DataError: If there is none; the message lists the known names.
    """
    try:
        return registry()[name]
    except KeyError:
        raise DataError(f"there is no data set named {name!r}; there are: {', '.join(registry())}") from None


def cache() -> Path:
    """Return the cache folder for fetched data: COURSE_CACHE if it is set, otherwise in the user's cache folder."""
    if chosen := os.environ.get("COURSE_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs  # a machine that trains from copied files may lack it

    return platformdirs.user_cache_path("course_lib")
