"""A cache, a source of packages and a registry of their own for every test of fetching."""

import pytest
from tiny_package import TEXT, entry_of, make_wheel

from course_lib.data.packages import registry


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that the real pip takes for its only source of packages."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def stock(monkeypatch):
    """Put entries in place of the registry."""

    def put(*entries):
        monkeypatch.setattr(registry, "registry", lambda: {e.name: e for e in entries})

    return put


@pytest.fixture
def tiny(shelf, stock, cache):
    """A tiny package on the shelf and in the registry."""
    entry = entry_of(make_wheel(shelf, {"tiny/text.txt": TEXT, "tiny/__init__.py": b"raise SystemExit('ran')"}))
    stock(entry)
    return entry
