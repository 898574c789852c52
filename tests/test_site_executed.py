"""The labs of the book as they were executed."""

import pytest
from site_project import ROOT

from course_lib.site import cache
from course_lib.site.build import read_lab, solved_labs
from course_lib.site.paths import Project

PROJECT = Project(ROOT)


@pytest.mark.book
@pytest.mark.parametrize("lab", sorted(path.stem for path in PROJECT.labs.glob("*.ipynb")))
def test_nbmake_executed_every_lab(lab):
    """All of it: each code cell that is not empty has run, in order, and none ended in an error."""
    solved = solved_labs({lab: read_lab(PROJECT, lab)})[lab]
    executed = cache.load(PROJECT, cache.key(PROJECT, lab, solved))
    assert executed is not None, f"no run of {lab} is kept; run `course book`"
    assert executed.metadata["course"]["executed_by"].startswith("nbmake ")
    cells = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.source for cell in cells] == [
        c.source for c in solved.cells if c.cell_type == "code" and c.source.strip()
    ]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
