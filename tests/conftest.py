"""What all tests share."""

import os

import pytest
import torch
from jaxtyping import install_import_hook

# Models this small gain nothing from more threads, and on a busy machine their threads wait for each other for minutes.
torch.set_num_threads(1)

# Shapes written in signatures are checked whenever a test calls the function.
install_import_hook(
    ["course_lib.nn", "course_lib.models", "course_lib.interop", "course_lib.data"], "beartype.beartype"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A laptop may lack Chromium or bubblewrap, and a test then skips by name; in CI nothing may go untested."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped, which CI does not allow: {call.excinfo.value}"
    return report
