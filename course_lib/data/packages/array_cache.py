"""A cache for arrays that are costly to compute: computed once, then read from one file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from course_lib.data.packages.fetching import cache_errors, locked
from course_lib.data.packages.registry import cache
from course_lib.files import open_whole, remove_partial

Arrays = dict[str, np.ndarray]

_DIGEST_BYTES = 32  # a SHA-256 of all that comes before it ends the file; readers of zip files pass over it


def cached_arrays(name: str, made_from: Iterable[object], build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that `build` makes, built at the first call and afterwards read from one file in the cache.

    The file appears only when it is complete. If several processes need it, one builds it and the others wait. A
    damaged file is built again, and a printed sentence says so.

    Args:
        name: The beginning of the file's name.
        made_from: Everything that the arrays depend on: hashes of sources, sizes, a version of the recipe. It must not
            need the sources themselves: its hash is part of the file's name, by which a machine without the sources
            finds a copy.
        build: The function that makes the arrays; its exceptions are passed on.

    Raises:
        DataError: If the file cannot be written.
        ValueError: If an array holds Python objects.
    """
    path = array_file(name, made_from)
    arrays = _read(path)
    if arrays is not None:  # no lock, so that a cache that others filled may be read-only
        return arrays
    with locked(name, "prepare", "preparing"):
        arrays = _read(path)
        if arrays is not None:  # another process was faster
            return arrays
        if path.exists():
            print(f"The prepared file {path} is damaged; making it again.", flush=True)
        arrays = build()
        with cache_errors(name, "prepare"):
            _write(path, arrays)
    return arrays


def array_file(name: str, made_from: Iterable[object]) -> Path:
    """Return the path of the file that `cached_arrays` uses, whether it exists or not, to copy it elsewhere."""
    digest = hashlib.sha256("\n".join(map(repr, made_from)).encode()).hexdigest()
    return cache() / f"{name}-{digest[:8]}.npz"


def _read(path: Path) -> Arrays | None:
    """Return all arrays of a file, or None when it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


def _write(path: Path, arrays: Arrays) -> None:
    for key, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"the array {key!r} holds Python objects; prepared files hold numbers and text only")
    remove_partial(path)  # the lock says that no other process writes it
    with open_whole(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
        file.seek(0)
        file.write(hashlib.file_digest(file, "sha256").digest())
