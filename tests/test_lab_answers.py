"""What a lab asks of answers beyond their check; run_other_answers.py runs whole labs with other answers."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
import torch

from course_lib import exercises
from course_lib.grader.check import _visible_exam


def is_number(answer):
    """Whether a float would do: not where gradients are asked for, since those need a tensor."""
    return isinstance(answer, (bool, int, float)) or (isinstance(answer, torch.Tensor) and answer.dim() == 0)


def attributes_of_calls(source, names):
    """What a cell reads of the result of calling one of these functions, on the spot: `f(x).item()`."""
    for node in ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))):
        called = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id in names:
            yield f"{called.func.id}(...).{node.attr}"


@pytest.mark.parametrize("slug", exercises.labs())
def test_a_number_may_come_back_as_a_float_or_as_a_tensor(slug):
    """The check takes either, so a lab says `float(f(x))`, which both have, and not `f(x).item()`."""
    numbers = {e.name for e in exercises.of_lab(slug) if all(map(is_number, _visible_exam(e.id).expected))}
    cells = nbformat.read(Path("labs") / f"{slug}.ipynb", as_version=4).cells
    assert [
        use for cell in cells if cell.cell_type == "code" for use in attributes_of_calls(cell.source, numbers)
    ] == []


def test_what_needs_a_tensor_is_found():
    assert list(attributes_of_calls("y = [f(x[0]).item() for x in a]", {"f"})) == ["f(...).item"]
    assert not list(attributes_of_calls("y = float(f(x[0])) + g(x).item()", {"f"}))
