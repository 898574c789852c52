"""Notebooks in zip archives are found as in a folder, and an archive harms nobody."""

import stat
import zipfile

import pytest

from course_lib.grader import archives
from course_lib.grader.archives import unpack
from course_lib.grader.command import find

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def packed(path, names, content=NOTEBOOK):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_archive_is_read_as_a_folder_and_other_files_are_left(tmp_path):
    root, unpacked = tmp_path / "in", tmp_path / "unpacked"
    packed(root / "ana.zip", ["week 1/lab.ipynb", "week 1/data.csv", "__MACOSX/._lab.ipynb", "._x.ipynb"])
    packed(root / "ben" / "LAB.ZIP", ["a.IPYNB"])
    packed(root / "cem.zip", ["notes.txt"])
    (root / "dot.ipynb").write_text(NOTEBOOK)
    files, others, _ = find(root, None, unpacked)
    assert [path.relative_to(unpacked).as_posix() for path in files if path.is_relative_to(unpacked)] == [
        "ana.zip/week 1/lab.ipynb",
        "ben/LAB.ZIP/a.IPYNB",
    ]
    assert below(unpacked) == ["ana.zip/week 1/lab.ipynb", "ben/LAB.ZIP/a.IPYNB"]
    assert files[0].read_text() == NOTEBOOK
    assert files[0].stat().st_mtime == pytest.approx((root / "ana.zip").stat().st_mtime, abs=1e-3)
    assert root / "dot.ipynb" in files
    assert others == [root / "cem.zip"]


@pytest.mark.parametrize(
    "name", ["../../evil.ipynb", "/etc/evil.ipynb", "..\\..\\evil.ipynb", "C:\\evil.ipynb", "a/../../evil.ipynb"]
)
def test_no_name_leads_out_of_the_folder(name, tmp_path):
    (path,) = unpack(packed(tmp_path / "x.zip", [name]), tmp_path / "to" / "deep")
    assert path.is_relative_to(tmp_path / "to" / "deep")
    assert ".." not in path.parts
    assert path.is_file()


def test_a_link_in_an_archive_is_a_plain_file(tmp_path):
    link = zipfile.ZipInfo("link.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    (path,) = unpack(tmp_path / "x.zip", tmp_path / "to")
    assert not path.is_symlink()
    assert path.read_text() == "/etc/passwd"  # no notebook, which the grader says
    (tmp_path / "linked.zip").symlink_to(tmp_path / "x.zip")
    assert unpack(tmp_path / "linked.zip", tmp_path / "other") == []


def test_what_is_too_large_or_no_archive_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "no.zip").write_bytes(b"PK and nothing else")
    assert unpack(tmp_path / "no.zip", tmp_path / "a") == []
    whole = packed(tmp_path / "whole.zip", ["a.ipynb", "b.ipynb"])
    (tmp_path / "half.zip").write_bytes(whole.read_bytes()[:100])
    assert unpack(tmp_path / "half.zip", tmp_path / "b") == []
    with monkeypatch.context() as patch:
        patch.setattr(archives, "MOST_NOTEBOOKS", 1)
        assert unpack(whole, tmp_path / "c") == []
    with monkeypatch.context() as patch:
        patch.setattr(archives, "LARGEST_ARCHIVE", 100)
        assert unpack(whole, tmp_path / "d") == []
    assert len(unpack(whole, tmp_path / "e")) == 2


def test_a_notebook_that_is_larger_than_allowed_is_not_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 1000)
    (path,) = unpack(packed(tmp_path / "bomb.zip", ["a.ipynb"], "0" * 10**6), tmp_path / "to")
    assert path.stat().st_size == 1001


def test_an_archive_with_a_password_is_left_alone(tmp_path):
    data = bytearray(packed(tmp_path / "x.zip", ["a.ipynb"]).read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1  # the bit that says: encrypted
    (tmp_path / "secret.zip").write_bytes(data)
    assert unpack(tmp_path / "secret.zip", tmp_path / "to") == []
