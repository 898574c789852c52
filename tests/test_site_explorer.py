"""Explorers stand in the chapter where their idea is, drawn by a lab, with an address of their own."""

import re
import sys

import nbformat
import pytest
from site_project import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from course.explorer import explorer

PLACED = [
    (path.stem, *found)
    for path in sorted((ROOT / "book").glob("*.md"))
    for found in re.findall(r"```\{explorer\} (\S+) (\S+)\n:name: (\S+)\n```", path.read_text(encoding="utf8"))
]
DRAWS = re.compile(r"(?m)^(?:show\.)?(?:\w*explorer|slider)\(")


def cells():
    """The cells of all labs that draw an explorer: (lab, cell)."""
    for path in sorted((ROOT / "labs").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and DRAWS.search(cell.source):
                yield path.stem, cell.id


def test_each_explorer_stands_in_its_chapter_under_an_address_of_its_own():
    assert {(lab, cell) for _, lab, cell, _ in PLACED} == set(cells())
    assert all(page.split("_")[0] == lab.split("_")[0] for page, lab, _, _ in PLACED)
    names = [(page, name) for page, _, _, name in PLACED]
    assert len(set(names)) == len(names)


def drawn(html, **metadata):
    cell = nbformat.v4.new_code_cell("slider()", id="draw")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]
    return nbformat.v4.new_notebook(cells=[cell], metadata=metadata)


def test_the_explorer_of_a_cell_is_found_and_a_lab_that_was_not_run_has_none():
    html = '<div class="course-explorer states">it</div>'
    assert explorer(drawn(html, course={}), "draw") == html
    assert explorer(drawn(html), "draw") is None


def test_a_cell_that_is_missing_or_draws_something_else_is_named():
    with pytest.raises(LookupError, match="there is no cell nosuch"):
        explorer(drawn("", course={}), "nosuch")
    with pytest.raises(LookupError, match="cell draw has drawn no explorer"):
        explorer(drawn("<table></table>", course={}), "draw")
