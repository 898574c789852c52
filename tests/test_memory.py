"""What the loop asks of the C library."""

import ctypes
import platform
import subprocess
import sys

import pytest

from course_lib.train import memory

# Page faults of three tensors of 16 MiB each, 12288 pages, taken and freed six times; the least of the six, since the
# heap grows at first. In a process of its own: how a heap is cut up depends on all that ran in it before.
LEAST_FAULTS = """
import resource
import torch
from course_lib.train import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    taken = [torch.ones(4, 1 << 20) for _ in range(3)]
    del taken
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{setting}
print(min(faults() for _ in range(6)))
"""


def least_faults(setting):
    code = LEAST_FAULTS.format(setting=setting)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has this setting")
def test_freed_memory_is_used_again_without_asking_the_kernel():
    assert least_faults("memory.keep_freed_memory()") < 1000
    assert least_faults("") > 8000  # by default the memory goes back each time


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_elsewhere_nothing_happens(monkeypatch, error):
    def missing(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory.keep_freed_memory()
