"""`course export gradescope`: the zip that an instructor uploads as the autograder of an assignment."""

from __future__ import annotations

import io
import json
import secrets
import stat
import zipfile
from pathlib import Path
from typing import Any

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.files import write_bytes
from course_lib.grader.gradescope.run import SETTINGS, VISIBILITIES
from course_lib.grader.sandbox import WISHES

_HERE = Path(__file__).resolve().parent
_ROOT = Path(exercises.__file__).resolve().parents[2]
_PROJECT = ("pyproject.toml", "requirements.lock", "README.md", "LICENSE")  # what pip needs beside the package


def export(lab: str, file: Path, hidden: str, seed: int | None, sandbox: str) -> int:
    """Write the zip: set-up, what runs for each submission, the settings, and the course itself.

    Args:
        lab: The lab that is graded.
        file: The zip to write. It holds the seed, so only its owner can read it.
        hidden: When students see points and hidden cases: one of `VISIBILITIES`.
        seed: The seed of the hidden cases; None for a secret one.
        sandbox: "auto", "require" or "off".

    Returns:
        The points of the lab.

    Raises:
        CourseError: If an argument is invalid, this is no checkout, or the file cannot be written.
    """
    if lab not in exercises.labs():
        raise CourseError(f"there is no lab called {lab!r}; there are: {', '.join(exercises.labs())}")
    if exercises.is_student_version():
        raise CourseError("this is a student version, without hidden cases; export from the full course")
    if own.files().get(lab):
        raise CourseError(f"{own.FOLDER}/{lab} does not travel to Gradescope; grade this lab with `course grade`")
    if hidden not in VISIBILITIES:
        raise CourseError(f"--hidden is {', '.join(VISIBILITIES[:-1])} or {VISIBILITIES[-1]}, not {hidden!r}")
    if sandbox not in WISHES:
        raise CourseError(f"--sandbox is auto, require or off, not {sandbox!r}")
    if not all((_ROOT / name).is_file() for name in _PROJECT):
        raise CourseError("the zip needs the sources of the course: run this in a checkout, not with an installed one")
    settings: dict[str, Any] = {
        "lab": lab,
        "hidden": hidden,
        "seed": secrets.randbits(63) if seed is None else seed,
        "sandbox": sandbox,
        "points": {exercise.id: exercise.points for exercise in exercises.of_lab(lab)},  # course.toml stays here
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("setup.sh", "run_autograder"):
            _add(archive, name, (_HERE / f"{name}.template").read_bytes(), 0o755)
        _add(archive, SETTINGS, json.dumps(settings, indent=1).encode(), 0o600)
        for path in _sources():
            _add(archive, f"course/{path.relative_to(_ROOT).as_posix()}", path.read_bytes())
    try:
        write_bytes(file, content.getvalue(), private=True)
    except OSError as error:
        raise CourseError(f"{file} cannot be written: {error.strerror}; name another file") from error
    return sum(settings["points"].values())


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = zipfile.ZipInfo(name)  # with the date of no day, so that the same course makes the same zip
    entry.external_attr = (stat.S_IFREG | mode) << 16
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _sources() -> list[Path]:
    package = (path for path in (_ROOT / "course_lib").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [*(_ROOT / name for name in _PROJECT), *sorted(package)]
