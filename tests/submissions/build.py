"""Notebooks from sources."""

import inspect
import json

from course_lib import exercises

IMPORTS = """\
import math
import torch
import torch.nn.functional as F
from functools import partial
from torch import nn
from course_lib.grader import check, use
"""


def code(source, **metadata):
    """A code cell, as JSON."""
    return {"cell_type": "code", "metadata": metadata, "outputs": [], "execution_count": None, "source": source}


def notebook(sources, **changes):
    """A notebook of code cells, as JSON."""
    cells = [s if isinstance(s, dict) else code(s) for s in sources]
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells, **changes}


def solved(lab="ch01_attention", **instead):
    """Cells of a solved lab: imports, then every exercise with its check. `softmax="source"` replaces a solution."""
    cells = [IMPORTS]
    for exercise in exercises.of_lab(lab):
        source = instead.get(exercise.id, inspect.getsource(exercise.reference))
        cells.append(f"# EXERCISE: {exercise.id}\n{source}")
        cells.append(f'check("{exercise.id}", {exercise.name});\n{exercise.name} = use("{exercise.id}", {exercise.name})')
    return cells


def write(folder, files):
    """Write {name: notebook as a dict, or bytes} below a folder."""
    for name, content in files.items():
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
