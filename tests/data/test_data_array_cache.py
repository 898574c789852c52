"""Prepared files: built once, whole or not at all, and read without what they were made from."""

import errno
import itertools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from course_lib.data.packages import array_cache as module
from course_lib.data.packages.array_cache import cached_arrays
from course_lib.errors import DataError

ARRAYS = {"numbers": np.arange(40, dtype=np.int32).reshape(5, 8), "names": np.array(["a", "ßé", "中"])}


def never():
    pytest.fail("built again")


def same(found, expected=ARRAYS):
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert np.array_equal(found[key], array)


def files(cache):
    return sorted(path for path in cache.iterdir() if path.suffix != ".lock")


def test_built_once_then_read(cache):
    same(cached_arrays("toy", ["abc", 32], lambda: ARRAYS))
    (path,) = files(cache)
    assert path.name.startswith("toy-")
    same(cached_arrays("toy", ["abc", 32], never))
    assert files(cache) == [path]


def test_another_source_is_another_file(cache):
    sources = [["abc", 32], ["abc", 64], ["abd", 32], ["abc32"], ["abc", "32"], [], [1, 23], [12, 3]]
    for number, source in enumerate(sources):
        cached_arrays("toy", source, lambda number=number: {"number": np.array(number)})
    assert [int(cached_arrays("toy", source, never)["number"]) for source in sources] == list(range(len(sources)))


def test_a_filled_cache_may_be_read_only(cache):
    cached_arrays("toy", [], lambda: ARRAYS)
    (cache / ".toy.lock").unlink(missing_ok=True)
    before = sorted(cache.iterdir())
    cached_arrays("toy", [], never)
    assert sorted(cache.iterdir()) == before  # not even a lock was written


def test_the_file_is_as_readable_as_any_other(cache):
    cached_arrays("toy", [], lambda: ARRAYS)
    (cache / "other").touch()
    readable = [path.stat().st_mode & 0o444 for path in (files(cache)[-1], cache / "other")]
    assert readable[0] == readable[1]


def test_damage_anywhere_is_noticed(cache, capsys):
    """Every byte of the file in turn: either it does not matter, or the file is made again."""
    cached_arrays("toy", [], lambda: ARRAYS)
    (path,) = files(cache)
    whole = path.read_bytes()
    rebuilt = 0
    for place, wrong in itertools.product(range(len(whole)), (0x55, 0x01)):  # one bit may say that it is encrypted
        path.write_bytes(whole[:place] + bytes([whole[place] ^ wrong]) + whole[place + 1 :])
        calls = []
        same(cached_arrays("toy", [], lambda calls=calls: calls.append(1) or ARRAYS))
        said = capsys.readouterr().out
        assert bool(calls) == (said == f"The prepared file {path} is damaged; making it again.\n")
        rebuilt += len(calls)
    assert rebuilt > len(whole)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        same(cached_arrays("toy", [], lambda: ARRAYS))
        assert "damaged" in capsys.readouterr().out
        same(cached_arrays("toy", [], never))


def test_arrays_under_other_names_are_damage(cache):
    cached_arrays("toy", [], lambda: {"a": np.arange(3), "b": np.arange(4)})
    (path,) = files(cache)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["c"] = arrays.pop("b")
    np.savez(path, **arrays)
    same(cached_arrays("toy", [], lambda: ARRAYS))


def test_a_pickle_is_never_opened(cache):
    cached_arrays("toy", [], lambda: ARRAYS)
    (path,) = files(cache)
    np.savez(path, numbers=np.array([{"not": "a number"}], dtype=object))
    same(cached_arrays("toy", [], lambda: ARRAYS))


def test_objects_are_refused(cache):
    with pytest.raises(ValueError, match="the array 'mixed' holds Python objects"):
        cached_arrays("toy", [], lambda: {"mixed": np.array([1, None])})
    assert files(cache) == []


@pytest.mark.parametrize("error", [DataError("no network"), OSError("a source is gone"), NotImplementedError("no")])
def test_a_build_that_fails_leaves_nothing_and_speaks_for_itself(cache, error):
    def build():
        raise error

    with pytest.raises(type(error)) as raised:
        cached_arrays("toy", [], build)
    assert raised.value is error
    assert files(cache) == []
    same(cached_arrays("toy", [], lambda: ARRAYS))


def test_a_process_killed_while_it_writes(cache):
    code = """
import os, sys, numpy as np
from course_lib.data.packages import array_cache
def die(file, **arrays):
    file.write(b"half of it")
    file.flush()
    os._exit(9)
array_cache.np.savez_compressed = die
array_cache.cached_arrays("toy", [], lambda: {"a": np.zeros(3)})
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 9
    assert [".npz.partial-" in path.name for path in files(cache)] == [True]
    same(cached_arrays("toy", [], lambda: ARRAYS))
    assert [path.suffix for path in files(cache)] == [".npz"]


def test_sentences_about_the_disk(cache, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.np, "savez_compressed", full)
        with pytest.raises(DataError, match=r"there is no room to prepare toy, and nothing was kept. Free some space"):
            cached_arrays("toy", [], lambda: ARRAYS)
    assert files(cache) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"toy cannot be put into .*file.* Set the environment variable COURSE_CACHE"):
        cached_arrays("toy", [], lambda: ARRAYS)


def test_threads_at_once_build_once(cache, capsys):
    building, calls, found = threading.Event(), [], []

    def build():
        calls.append(1)
        building.wait(10)
        return ARRAYS

    threads = [threading.Thread(target=lambda: found.append(cached_arrays("toy", [], build))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(1000):
        if capsys.readouterr().out.count("Another process is preparing toy; waiting for it."):
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("nobody said that they wait")
    building.set()
    for thread in threads:
        thread.join(60)
    assert len(calls) == 1
    assert len(found) == 3
    for arrays in found:
        same(arrays)


def test_processes_at_once_build_once(cache, tmp_path):
    code = f"""
import time, numpy as np
from course_lib.data.packages.array_cache import cached_arrays
def build():
    open({str(tmp_path / "calls")!r}, "a").write("x")
    time.sleep(1)
    return {{"a": np.arange(3)}}
print(cached_arrays("toy", [], build)["a"].sum())
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes] == ["3"] * 3
    assert (tmp_path / "calls").read_text() == "x"
