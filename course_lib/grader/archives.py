"""Notebooks that were handed in inside a zip archive."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path, PurePosixPath

from course_lib.grader.notebook import LARGEST_FILE

MOST_NOTEBOOKS = 2000  # in an archive: a whole class, as a platform packs it
LARGEST_ARCHIVE = 2**30  # bytes of all its notebooks together, unpacked


def unpack(archive: Path, to: Path) -> list[Path]:
    """Unpack the notebooks of a zip archive, and nothing else of it.

    Each is written below `to`, under the names of the folders that it has in the archive. A name that would lead out of
    there loses what leads out, and no link is made. Each has the time of the archive: the times inside are the packer's
    to write, and name no time zone.

    Args:
        archive: The file.
        to: A folder that need not exist.

    Returns:
        The notebooks, in order; none if this is no archive that can be read, if it asks for a password, or if it is
        larger than what a class may have written.
    """
    found: dict[Path, zipfile.ZipInfo] = {}
    try:
        if archive.is_symlink():
            return []
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                parts = [part for part in PurePosixPath(entry.filename.replace("\\", "/")).parts if _is_name(part)]
                if not entry.is_dir() and parts and _is_notebook(parts):
                    found.setdefault(to.joinpath(*(re.sub(r"[\0:]", "_", part)[-100:] for part in parts)), entry)
            if len(found) > MOST_NOTEBOOKS or sum(entry.file_size for entry in found.values()) > LARGEST_ARCHIVE:
                return []
            for path, entry in found.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                # An archive may lie about sizes. With one byte too many `read_notebook` refuses the file.
                left = LARGEST_FILE + 1
                with file.open(entry) as source, open(path, "xb") as target:
                    while left and (data := source.read(min(2**20, left))):
                        left -= target.write(data)
                os.utime(path, (archive.stat().st_atime, archive.stat().st_mtime))
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile):
        return []
    return sorted(found)


def _is_name(part: str) -> bool:
    return part not in ("/", "..", ".") and not part.endswith(":")


def _is_notebook(parts: list[str]) -> bool:
    hidden = {"__MACOSX", ".ipynb_checkpoints"} & set(parts[:-1])
    return parts[-1].casefold().endswith(".ipynb") and not parts[-1].startswith("._") and not hidden
