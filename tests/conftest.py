"""What all tests share."""

import os

import pytest
import torch
from browsers import chromium
from shape_checks import CHECKED, check_modules

import course_lib.site  # noqa: F401 (before any test imports nbformat: see there)

# Models this small gain nothing from more threads, and on a busy machine their threads wait for each other for minutes.
torch.set_num_threads(1)

# Before any test imports them.
check_modules(CHECKED)


@pytest.fixture(scope="module")
def browser():
    """A real browser, one for each file of tests."""
    with chromium() as browser:
        yield browser


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
