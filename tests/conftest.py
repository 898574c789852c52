"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch
from shape_checks import check_modules

import course_lib
import course_lib.site  # before any test imports nbformat: see there

# Models this small gain nothing from more threads, and on a busy machine their threads wait for each other for minutes.
torch.set_num_threads(1)

# Shapes written in signatures are checked whenever a test calls the function. Of `infer` not those of generate and
# speculative, whose generators run under torch.inference_mode, which a checked generator would leave, and not those of
# sampling: their tests pass what is no list of prompts and no number, to see the sentences that follow. Of `train` not
# the settings, which refuse wrong types themselves. Of `tune` not LoRA, which a test compiles, and a
# function that checks would break the graph.
CHECKED_IN_INFER = ("constrained", "quantization", "server", "command")
CHECKED_IN_GENERATION = ("cached_decoder", "kernels", "open_model", "stream", "text_generator")
UNCHECKED = {"train.config", "tune.lora"}
LIBRARY = Path(course_lib.__file__).parent
TRAIN_AND_TUNE = [f"{room}.{file.stem}" for room in ("train", "tune") for file in (LIBRARY / room).glob("[a-z]*.py")]
CHECKED = (
    *("nn", "models", "interop", "data"),
    *(f"infer.{name}" for name in CHECKED_IN_INFER),
    *(f"infer.generation.{name}" for name in CHECKED_IN_GENERATION),
    *(name for name in TRAIN_AND_TUNE if name not in UNCHECKED),
)
check_modules(CHECKED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A laptop may lack Chromium or bubblewrap, and a test then skips by name; in CI nothing may go untested."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped, which CI does not allow: {call.excinfo.value}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Begin with what takes longest, the pages of the book and then these files: each is one process's work."""
    long = [
        f"test_{name}.py"
        for name in ("grader_batch", "exercises", "style", "site_build", "grader_notebooks", "site_new_lab", "train")
    ]
    items.sort(key=lambda item: (item.get_closest_marker("book") is None, item.path.name not in long))
