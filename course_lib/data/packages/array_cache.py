"""Arrays that are costly to make, made once: afterwards one file of the cache is enough."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from course_lib.data.packages.fetching import locked, sentences
from course_lib.data.packages.registry import cache

Arrays = dict[str, np.ndarray]

_DIGEST = "sha256"  # of all the other arrays of the file


def cached_arrays(name: str, made_from: Iterable[object], build: Callable[[], Arrays]) -> Arrays:
    """The arrays that `build` makes: built at the first call, afterwards read from one file in the cache.

    `made_from` lists all that the arrays depend on: hashes of sources, sizes, a version of the recipe. It must not need
    the sources themselves, for its hash is part of the file's name, by which a machine without them finds a copy.
    Nothing appears before it is complete; of several processes one builds and the others wait; a damaged file is made
    again, and one printed sentence says so.
    Raises DataError when the file cannot be written, ValueError for arrays of Python objects, and what `build` raises.
    """
    path = array_file(name, made_from)
    arrays = _read(path)
    if arrays is not None:  # no lock, so that a cache that others filled may be read-only
        return arrays
    with ExitStack() as stack:
        with sentences(name, "prepare"):  # what the system says about the cache, not what `build` says
            stack.enter_context(locked(name, "preparing"))
        arrays = _read(path)
        if arrays is not None:  # another process was faster
            return arrays
        if path.exists():
            print(f"The prepared file {path} is damaged; making it again.", flush=True)
        arrays = build()
        with sentences(name, "prepare"):
            _write(path, arrays)
    return arrays


def array_file(name: str, made_from: Iterable[object]) -> Path:
    """The file of `cached_arrays` for the same name and sources, whether it exists or not: what to copy elsewhere."""
    digest = hashlib.sha256("\n".join(map(repr, made_from)).encode()).hexdigest()
    return cache() / f"{name}-{digest[:8]}.npz"


def _read(path: Path) -> Arrays | None:
    """All arrays of a file, or None when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None  # RuntimeError: a wrong bit says that it is encrypted, or packed in an unknown way
    # The checksums of a zip file guard each array, but not the list of arrays.
    digest = arrays.pop(_DIGEST, None)
    return arrays if digest is not None and digest.tobytes() == _digest(arrays).tobytes() else None


def _digest(arrays: Arrays) -> np.ndarray:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(repr((key, arrays[key].dtype.str, arrays[key].shape)).encode() + arrays[key].tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def _write(path: Path, arrays: Arrays) -> None:
    for key, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"the array {key!r} holds Python objects; prepared files hold numbers and text only")
    members: dict[str, Any] = {**arrays, _DIGEST: _digest(arrays)}
    partial = path.with_name(f".{path.stem}.partial")  # one name is enough: whoever writes holds the lock
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **members)
        partial.replace(path)  # on the same disk, hence atomic
    finally:
        partial.unlink(missing_ok=True)
