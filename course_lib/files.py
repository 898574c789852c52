"""Files that are written whole or not at all, and read with a sentence for what is wrong with them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from course_lib.errors import DataError


def write_text(path: Path, text: str, private: bool = False, synced: bool = False) -> None:
    """Write a whole file as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"), private, synced)


def write_bytes(path: Path, content: bytes, private: bool = False, synced: bool = False) -> None:
    """Write a whole file, its folder if need be, or nothing at all, also when interrupted.

    Args:
        path: The file; one that is there already is replaced.
        content: All that the file will hold.
        private: Only its owner can read the file.
        synced: Wait until the content is on the disk, so that a power cut cannot take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.partial-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        if not private:  # a temporary file is its owner's alone
            os.chmod(partial, 0o644)
        os.replace(partial, path)  # on the same disk, hence atomic
    finally:
        Path(partial).unlink(missing_ok=True)


@contextmanager
def written(folder: Path, *names: str) -> Iterator[Path]:
    """A place to write files called `names`, which then appear in `folder`, each whole, in this order; or none does."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as partial:  # the same disk: renaming is atomic
        yield Path(partial)
        for name in names:
            os.replace(Path(partial) / name, folder / name)


def acquire_lock(file: Path, waiting: str) -> AcquireReturnProxy:
    """Acquire the lock of that file, which a `with` then releases; who has to wait for it is told so."""
    lock = FileLock(file)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(waiting, flush=True)
        return lock.acquire()


def read_json(path: Path) -> Any:
    """The contents of a JSON file. Raises DataError when it is not there, or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; pass the place where it was saved") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); save or copy it again") from None
