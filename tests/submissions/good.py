"""Right answers in every shape in which they may arrive: all of these get full points.

GOOD are graded in a sandbox each; what differs only in how its cells are written or read is in CELLS, graded without.
"""

import inspect
import json
import re
from pathlib import Path

from course_lib import exercises
from submissions.build import IMPORTS, code, notebook, solved


def rewritten(lab):
    """The differently written right answers of a lab, each renamed to what the stub calls it."""
    cells = [IMPORTS]
    for exercise in exercises.of_lab(lab):
        solution = exercise.alternatives[-1].solution
        source = "\n".join(line for line in inspect.getsource(solution).splitlines() if not line.startswith("@"))
        cells.append(f"# EXERCISE: {exercise.id}\n{source}\n{exercise.name} = {solution.__name__}")
    return cells


def own_notebook(lab):
    """The lab's own notebook as a learner hands it in: every stub replaced by the reference."""
    document = json.loads(Path(f"labs/{lab}.ipynb").read_text(encoding="utf-8"))
    for cell in document["cells"]:
        mark = re.match(r"# EXERCISE: (\S+)\n", "".join(cell["source"]))
        if mark and cell["cell_type"] == "code":
            cell["source"] = mark[0] + inspect.getsource(exercises.find(mark[1]).reference)
    return document


def code_cells(document):
    """The sources of a notebook's code cells."""
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


SOLVED = solved()
SOFTMAX = SOLVED[1]
WRONG_SOFTMAX = "# EXERCISE: softmax\ndef softmax(x, dim=-1):\n    return x"

NOISY_CELL = """\
%matplotlib inline
!pip install something
drive = input("password?")
while True:
    pass
"""

HELPER = "def shifted(x, dim):\n    return x - x.amax(dim=dim, keepdim=True)\n"
WITH_HELPER = """\
# EXERCISE: softmax
SHARP = 1.0
def softmax(x, dim=-1):
    e = (shifted(x, dim) * SHARP).exp()
    return e / e.sum(dim=dim, keepdim=True)
assert False, "a test of my own that is wrong"
"""

LOUD = """\
# EXERCISE: softmax
import sys, warnings
def softmax(x, dim=-1):
    warnings.warn("careful")
    print("x" * 10**6)
    print("x" * 10**6, file=sys.stderr)
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True))
"""

MAGIC_INSIDE = """\
%%time
# EXERCISE: causal_mask
%load_ext autoreload
files = !ls
torch.tril?
def causal_mask(n):
    '''
    % this line of a string stays
    !and this one
    '''
    t = (n
         % (n + 1))
    return torch.ones(t, t, dtype=torch.bool).tril()
"""


def with_cell(position, source, cells=SOLVED):
    """The cells with one more."""
    return [*cells[:position], source, *cells[position:]]


def replaced(old, new, cells=SOLVED):
    """The cells with one replaced by another."""
    return [new if cell == old else cell for cell in cells]


def format_3(sources):
    """A notebook in version 3 of the format."""
    cells = [{"cell_type": "code", "language": "python", "input": s, "outputs": [], "metadata": {}} for s in sources]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}


# Each starts a worker, which imports torch. So the names that are hard to handle are given to notebooks that are hard
# to read, and these are the labs' own.
SHAPES = {
    '=HYPERLINK("http:x")': format_3,
    # sources as lists
    "-2+3+cmd|' /C calc'!A0": lambda sources: notebook([code(s.splitlines(keepends=True)) for s in sources]),
    # line ends of Windows
    "<img src=x onerror=alert(1)>": lambda sources: notebook([s.replace("\n", "\r\n") for s in sources]),
    # a byte order mark
    "line\nbreak": lambda sources: b"\xef\xbb\xbf" + json.dumps(notebook(sources)).encode(),
    # no metadata at all
    "grades.csv": lambda sources: {"nbformat": 4, "cells": [{"cell_type": "code", "source": s} for s in sources]},
    # tags that skip
    "reference/report.json": lambda sources: notebook(
        [code(s, tags=["skip-execution"], deletable=False) for s in sources]
    ),
    # a kernel that nobody has
    "section 2/Zoë Ångström": lambda sources: notebook(
        sources, metadata={"kernelspec": {"name": "gone", "display_name": "Gone"}}
    ),
}
GOOD = {
    "reference": notebook(SOLVED),
    "rewritten": notebook(rewritten("ch01_attention")),
    "loud": notebook(with_cell(1, WRONG_SOFTMAX, with_cell(2, NOISY_CELL, replaced(SOFTMAX, LOUD)))),
    **{f"labs/{lab}": own_notebook(lab) for lab in exercises.labs()[len(SHAPES) :]},
    **{
        name: shape(code_cells(own_notebook(lab)))
        for (name, shape), lab in zip(SHAPES.items(), exercises.labs()[: len(SHAPES)], strict=True)
    },
}
CELLS = {
    "cells in reverse": notebook(SOLVED[::-1]),
    "all in one cell": notebook(["\n".join(SOLVED)]),
    "colab": notebook(with_cell(0, "from google.colab import drive\ndrive.mount('/content')")),
    "helper further down": notebook([*replaced(SOFTMAX, WITH_HELPER), HELPER]),
    "magics": notebook(replaced(SOLVED[3], MAGIC_INSIDE)),
    "outputs of all kinds": notebook(
        [{**code(s), "outputs": [{"output_type": "error", "ename": "E", "evalue": "", "traceback": ["x" * 10**5]}]}
         for s in SOLVED]
    ),
    "thirty megabytes of outputs": notebook(
        [{**code(SOLVED[0]), "outputs": [{"output_type": "display_data", "data": {"image/png": "x" * 30 * 2**20}}]},
         *map(code, SOLVED[1:])]
    ),
    "future annotations": notebook(with_cell(0, "from __future__ import annotations\ndef f(x: Nobody) -> None: pass")),
}
