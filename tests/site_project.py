"""A book of three pages and one lab, with the course's own configuration: small enough to build in a test."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: One part
    numbered: 1
    chapters:
      - file: book/chapter
        sections:
          - file: labs/tiny
"""

INDEX = """\
# A tiny book

This book has one chapter and one lab, and it exists to test how the course is built into pages.

See [the chapter](chapter.md). {launch}
"""

CHAPTER = """\
(the-chapter)=
# One chapter

The lab measured {number}`tiny.total` and a share of {number}`tiny.share .1%`; a larger run is {number}`gpu:tiny.share`.

| what | measured |
|---|---|
| share | {number}`tiny.share` |
| uniform | {number}`tiny.even` |

$$
\\mathrm{softmax}(x)_i = \\frac{e^{x_i}}{\\sum_j e^{x_j}}
$$

:::{quiz} What do the weights sum to, for any $n$?
:id: sum
( ) To $n$.
    That is the sum of $n$ ones.
(x) To 1.
    Each is divided by *their* sum.
( ) To 0.
    Exponentials are positive.
:::
"""

COLAB = """\
# On Colab this installs the course and leaves Colab's own torch alone.
# Elsewhere it does nothing.
import sys

COURSE = ""  # filled in by `course configure --repository URL`
if "google.colab" in sys.modules:
    if not COURSE:
        raise SystemExit(
            "Open this lab with the Colab button of its page: "
            "this copy does not know its course."
        )
    %pip install -q $COURSE"""

STUB = '''\
# EXERCISE: softmax
def softmax(x, dim=-1):
    """Weights that are positive and sum to 1 along `dim`."""
    raise NotImplementedError'''

MEASURE = """\
weights = softmax(torch.tensor([[0.0, 1.0], [2.0, 2.0]]))
total = weights.sum().item()
data = {"course_record": {"key": "tiny.total", "value": total, "band": [1.9, 2.1], "ok": True, "preset": "cpu",
        "seed": 0, "device": "cpu", "control": None}}
display({"text/plain": f"tiny.total = {total}"}, raw=True, metadata=data)"""

SHARE = """\
from course_lib.measure import record

control = ("tiny.even", weights[1, 1].item(), (0.4, 0.6))
record("tiny.share", weights[0, 1].item(), (0.7, 0.8), control)"""

WIDGET = """\
bundle = {"application/vnd.jupyter.widget-view+json": {"model_id": "0" * 32, "version_major": 2, "version_minor": 0},
          "text/plain": "a widget", "text/html": "<p id='twin'>the twin</p>"}
display(bundle, raw=True)
display({name: bundle[name] for name in list(bundle)[:2]}, raw=True)"""


def lab_cells() -> list[nbformat.NotebookNode]:
    """The cells of the one lab: an exercise, two numbers, a widget."""
    md, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    return [
        md("# A tiny lab\n\nWhat do softmax weights sum to?", id="title"),
        code(COLAB, id="colab-setup", metadata={"tags": ["remove-cell"]}),
        code("import torch\nfrom IPython.display import display", id="imports"),
        md("Write `softmax`. 2 points, 5 minutes.", id="task"),
        code(STUB, id="stub"),
        code(MEASURE, id="measure"),
        code(SHARE, id="share"),
        code(WIDGET, id="widget"),
    ]


def write_lab(root: Path, cells: list[nbformat.NotebookNode], slug: str = "tiny") -> Path:
    """Write a notebook of these cells as a lab below `root`, and return its path."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = root / "labs" / f"{slug}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def make_project(root: Path) -> Path:
    """Write the tiny project below `root`, an empty folder."""
    (root / "book").mkdir(parents=True)
    (root / "labs").mkdir()
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, root / "book" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "_config.yml", root)
    # With what is compiled, since each build starts processes; but not what another process is just writing there.
    shutil.copytree(ROOT / "course_lib", root / "course_lib", ignore=shutil.ignore_patterns("*.pyc.*"))
    (root / "_toc.yml").write_text(TOC)
    (root / "book" / "index.md").write_text(INDEX.replace("{launch}", ""))
    (root / "book" / "chapter.md").write_text(CHAPTER)
    (root / "book" / "references.bib").write_text("")
    write_lab(root, lab_cells())
    return root
