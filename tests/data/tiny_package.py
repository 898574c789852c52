"""A tiny package, made here, and what the tests of fetching do with it."""

import base64
import hashlib
import json
import signal
import subprocess
import sys
import zipfile

from course_lib.data.packages import registry

TEXT = b"a text that compresses well " * 40_000  # 1.1 MB, a few kB as a wheel


def make_wheel(folder, members, package="tiny", version="1.0"):
    """Write a wheel that pip accepts; return its path."""
    info = f"{package}-{version}.dist-info"
    members = members | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "".join(lines) + f"{info}/RECORD,,\n")
    return path


def entry_of(archive, **changes):
    """The registry entry of an archive made here."""
    fields = {
        "name": "tiny-set",
        "title": "A tiny set",
        "client": "pip",
        "package": "tiny",
        "version": "1.0",
        "file": archive.name,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "bytes": archive.stat().st_size,
        "root": "tiny",
        "keep": ["*.txt"],
        "licence": "CC0",
        "credit": "Nobody.",
    }
    return registry.Entry(**(fields | changes))


def leftovers(cache):
    """What lies in the cache, but for lock files, which are empty."""
    return sorted(p.name for p in cache.iterdir() if p.suffix != ".lock") if cache.exists() else []


def in_process(entry, code="fetch('tiny-set')", before="", **options):
    """Start another Python that knows the entry and runs the code."""
    fields = json.dumps(vars(entry))
    program = f"""
import json, sys
from course_lib.data.packages import client, registry
from course_lib.data.packages.fetching import fetch
entry = registry.Entry(**json.loads(sys.argv[1]))
registry.registry = lambda: {{entry.name: entry}}
{before}
print({code})
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A process started in the background ignores Ctrl-C, and hands that on; these must not.
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([sys.executable, "-c", program, fields], **(pipes | options))
