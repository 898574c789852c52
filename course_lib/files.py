"""Files that are written completely or not at all, and read with error messages that say what is wrong."""

from __future__ import annotations

import glob
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from course_lib.errors import DataError


def write_text(path: Path, text: str, private: bool = False, synced: bool = False) -> None:
    """Write a text file as UTF-8, completely or not at all; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"), private, synced)


def write_bytes(path: Path, content: bytes, private: bool = False, synced: bool = False) -> None:
    """Write a file completely or not at all, even when interrupted; create its folder if needed.

    Args:
        path: The file; an existing one is replaced.
        content: The whole content of the file.
        private: Whether only the owner can read the file.
        synced: Whether to wait until the content is on the disk, so that a power cut cannot lose it.
    """
    with open_whole(path, private, synced) as file:
        file.write(content)


@contextmanager
def open_whole(path: Path, private: bool = False, synced: bool = False) -> Iterator[BufferedRandom]:
    """Open a new file to write and to read back, which takes its place at `path` when the block ends without an error.

    Arguments as in `write_bytes`. A process that is killed leaves its part behind: see `remove_partial`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.partial-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            if synced:
                file.flush()
                os.fsync(file.fileno())
        if not private:  # a temporary file is its owner's alone
            os.chmod(partial, 0o644)
        os.replace(partial, path)  # on the same disk, hence atomic
    finally:
        Path(partial).unlink(missing_ok=True)


def remove_partial(path: Path) -> None:
    """Remove what processes that were killed wrote of a file; nobody may be writing it now."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.partial-*"):
        stale.unlink(missing_ok=True)


@contextmanager
def written(folder: Path, *names: str) -> Iterator[Path]:
    """Yield a temporary folder in which to write files called `names`, then move them into `folder`.

    Each file appears complete, in this order. If an exception is raised while they are written, none appears.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as partial:  # the same disk: renaming is atomic
        yield Path(partial)
        for name in names:
            os.replace(Path(partial) / name, folder / name)


def acquire_lock(file: Path, waiting: str) -> AcquireReturnProxy:
    """Acquire the lock of a file, for use in a `with` statement that releases it.

    Args:
        file: The lock file.
        waiting: The message to print if another process holds the lock.
    """
    lock = FileLock(file)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(waiting, flush=True)
        return lock.acquire()


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and for git, completely or not at all; each list of numbers stands on one line."""
    text = re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(content, indent=1))
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Return the contents of a JSON file.

    Raises:
        DataError: If the file does not exist, cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; pass the place where it was saved") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); save or copy it again") from None
