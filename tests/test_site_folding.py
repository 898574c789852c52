"""A lab reads well: machinery is folded to one line, the numbers of a section stand in one table."""

import ast

import nbformat
import pytest
from site_project import ROOT, make_project

from course_lib.site import cache
from course_lib.site.build import read_lab
from course_lib.site.page import MACHINERY, page
from course_lib.site.paths import Project

LABS = sorted((ROOT / "labs").glob("*.ipynb"))


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A lab", id="title"), *cells])


def code(source, id, *tags):
    return nbformat.v4.new_code_cell(source, id=id, metadata={"tags": list(tags)} if tags else {})


def recorded(key):
    return nbformat.v4.new_output("display_data", {"text/plain": key}, metadata={"course_record": {"key": key}})


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import math\nfrom torch import nn\nSEED = 0", "imports, 3 lines"),
        ("show.figure(\n    bars,\n)\nrecord('a.b', 1)", "plot, 4 lines"),
        ("table(rows)\nrecord('a.b', 1)", "table, 2 lines"),
        ("record('a.b', 1)\nrecord('a.c', 1)", "recording, 2 lines"),
    ],
)
def test_machinery_is_folded_to_a_line_that_says_what_it_is(source, line):
    shown = page("x", notebook(code(source, "cell", MACHINERY)), None)
    cell = shown.cells[1]
    assert "hide-input" in cell.metadata.tags
    assert cell.metadata.mystnb.code_prompt_show == line
    assert cell.source == source


def test_what_is_not_machinery_stays_in_view_whatever_an_old_run_said():
    executed = notebook(code("x = 1", "cell", MACHINERY))
    assert "hide-input" not in page("x", notebook(code("x = 1", "cell")), executed).cells[1].metadata.get("tags", [])


def test_the_numbers_of_a_section_stand_in_one_table_at_its_end():
    section = nbformat.v4.new_markdown_cell("text\n\n## 2. Another", id="second")
    lab = notebook(code("1", "one"), code("2", "two"), section, code("3", "three"))
    for at, key in ((1, "a.one"), (2, "a.two"), (4, "a.three")):
        lab.cells[at].outputs = [recorded(key), nbformat.v4.new_output("stream", text=key)]
    shown = page("x", lab, lab)
    tables = [cell for cell in shown.cells if cell.id.startswith("recorded-")]
    ids = [cell.id.split("-")[0] for cell in shown.cells if not cell.id.startswith("step-")]
    assert ids == ["title", "one", "two", "recorded", "second", "three", "recorded"]
    assert [table.source.split("\n")[1:-1] for table in tables] == [["a.one", "a.two"], ["a.three"]]
    assert [len(cell.outputs) for cell in shown.cells if cell.cell_type == "code"] == [1, 1, 1]


def test_tags_run_no_lab_again(tmp_path):
    project = Project(make_project(tmp_path / "book"))
    lab = read_lab(project, "tiny")
    before = cache.key(project, "tiny", lab)
    lab.cells[2].metadata["tags"] = [MACHINERY]
    assert cache.key(project, "tiny", lab) == before
    lab.cells[2].source += "\n"
    assert cache.key(project, "tiny", lab) != before


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_folded_cells_are_hidden_in_jupyter_too_and_define_nothing_to_read(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    folded = [cell for cell in cells if MACHINERY in cell.metadata.get("tags", [])]
    assert folded
    for cell in cells:
        assert (cell in folded) == cell.metadata.get("jupyter", {}).get("source_hidden", False), cell.id
    for cell in folded:
        assert not cell.source.startswith(("# EXERCISE", "check(")), cell.id
        kinds = {type(node) for node in ast.parse(cell.source).body}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.With}, cell.id


def test_a_row_of_the_table_cites_the_number_its_control_and_its_range_over_the_seeds(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course.recorded import row

    record = {"value": 0.9, "control": {"key": "a.control"}, "replication": {"values": [0.8, None, 0.95]}}
    assert row("a.b", record) == ["`a.b`", "{number}`a.b`", "{number}`a.control` `a.control`", "0.8 to 0.95"]
    assert row("a.b", {"value": 1, "control": None}) == ["`a.b`", "{number}`a.b`", "", ""]
