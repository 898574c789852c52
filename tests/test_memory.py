"""What the loop asks of the C library."""

import ctypes
import platform
import resource

import pytest
import torch

from course_lib.train import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has this setting")
def test_freed_memory_is_used_again_without_asking_the_kernel():
    memory.keep_freed_memory()

    def pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        taken = [torch.ones(4, 1 << 20) for _ in range(3)]  # 16 MiB each: 12288 pages
        del taken
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert min(pages() for _ in range(6)) < 1000  # at first the heap grows; without the setting it is never below 8000


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_elsewhere_nothing_happens(monkeypatch, error):
    def missing(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory.keep_freed_memory()
