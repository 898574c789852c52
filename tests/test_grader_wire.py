"""The wire between grader and worker, and the reading of notebooks: whatever comes in, nothing but data comes out."""

import ast
import contextlib
import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.grader.inside import calls, cells, frames
from course_lib.grader.notebook import Unreadable, read_notebook

DTYPES = [getattr(torch, name) for name in frames.DTYPES]


def reader(data):
    position = 0

    def take(size):
        nonlocal position
        if position + size > len(data):
            raise ConnectionError
        position += size
        return data[position - size : position]

    return take


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 50).to(draw(st.sampled_from(DTYPES)))


@st.composite
def arrays(draw):
    return tensor_to_array(draw(tensors()))


def tensor_to_array(tensor):
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.complex_numbers()
values = st.recursive(
    scalars | tensors() | arrays(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_a_message_arrives_as_it_was_sent(value):
    assert calls.same(frames.receive(reader(frames.pack(value))), value)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_are_data(data):
    with contextlib.suppress(frames.BadFrame, ConnectionError):
        calls.plain(frames.receive(reader(data)))


def framed(header, body=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<II", len(header), len(body)) + header + body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["tensor", "array", "dict", "complex", "x"]), inner)
    ),
)


@settings(max_examples=500, deadline=None)
@given(json_values, st.binary(max_size=64))
def test_any_header_is_refused_or_is_data(header, body):
    with contextlib.suppress(frames.BadFrame):
        calls.plain(frames.receive(reader(framed(header, body))))


@pytest.mark.parametrize(
    "data",
    [
        framed({"tensor": ["float32", [2]]}, bytes(7)),
        framed({"tensor": ["float32", [2]]}, bytes(9)),
        framed({"tensor": ["float32", [-1]]}, bytes(4)),
        framed({"tensor": ["float32", [2**40, 0]]}),
        framed({"tensor": ["float32", [True]]}, bytes(4)),
        framed({"tensor": ["float32", [1] * 65]}, bytes(4)),
        framed({"tensor": ["object", [1]]}, bytes(8)),
        framed({"tensor": ["load", [1]]}, bytes(8)),
        framed({"tensor": ["float32", [2**30, 2**30]]}),
        framed({"array": ["object", [1]]}, bytes(8)),
        framed({"array": ["datetime64[ns]", [1]]}, bytes(8)),
        framed({"pickle": "gANjb3MKc3lzdGVtCg=="}),
        framed({}),
        framed({"dict": [[["a"], 1]]}),
        framed({"dict": [1]}),
        framed(b"[" * 10**5),
        framed(b"9" * 10**5),
        framed(b"\xff\xff"),
        struct.pack("<II", 2**31, 0),
        struct.pack("<II", 0, 2**31),
    ],
)
def test_known_attacks_on_the_format_are_refused(data):
    with pytest.raises(frames.BadFrame):
        frames.receive(reader(data))


def test_booleans_are_zero_or_one_whatever_the_bytes():
    value = frames.receive(reader(framed({"tensor": ["bool", [3]]}, b"\x00\x07\xff")))
    assert value.view(torch.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "value", [[object()], [{1}], [b"x"], ["x" * 2**22], [torch.zeros(2**24)], [10**5000]], ids=range(6)
)
def test_what_is_not_plain_or_too_long_is_not_sent(value):
    with pytest.raises(frames.BadFrame):
        frames.pack(value)


def test_plain_refuses_what_is_not_data():
    for value in (object(), {1}, print, np.array([object()]), torch.nn.Linear(1, 1), b"x"):
        with pytest.raises(TypeError):
            calls.plain([value])
    assert calls.plain((1, np.float32(2), {"a": None})) == [1, 2.0, {"a": None}]


# Cells


def run_alone(source):
    """The first lines of the statements that run although their cell has no mark."""
    found = cells.analyse(source, whole=False)
    statements = ast.parse(found["source"]).body
    return [found["source"].splitlines()[statements[piece["only"]].lineno - 1] for piece in found["pieces"]]


def test_unmarked_cells_give_imports_definitions_and_literals():
    source = "import torch\nx = 3\ny = [1, {'a': -2.5}]\nz = 1 / 8\nw = torch.ones(3)\nprint(x)\nfor i in []: pass\n"
    source += "def f(): pass\nclass C: pass\na, b = 1, 2\nx.y = 3\ntry:\n    import q\nexcept ImportError:\n    pass\n"
    definitions = ["def f(): pass", "class C: pass", "a, b = 1, 2", "try:"]
    assert run_alone(source) == ["import torch", "x = 3", "y = [1, {'a': -2.5}]", "z = 1 / 8", *definitions]


@pytest.mark.parametrize(
    ("source", "cleaned"),
    [
        ("%time x = 1\ny = 2", "pass\ny = 2"),
        ("!pip install torch\ny = 2", "pass\ny = 2"),
        ("files = !ls\ny = 2", "pass\ny = 2"),
        ("if True:\n    %timeit f()\ny = 2", "if True:\n    pass\ny = 2"),
        ("torch.softmax?\ny = 2", "pass\ny = 2"),
        ("x = (5\n     % 3)", "x = (5\n     % 3)"),
        ("s = '''\n%not magic\n!nor this\n'''", "s = '''\n%not magic\n!nor this\n'''"),
        ("%%time\ny = 2", "pass\ny = 2"),
        ("%%bash\nrm -rf x", ""),
    ],
)
def test_magics_are_taken_out_and_lines_stay(source, cleaned):
    found = cells.analyse(source, whole=True)
    assert found["source"] == cleaned
    assert found["error"] is None


def test_names_defined_and_used():
    source = (
        "from a.b import c as d\ndef f(x):\n    local = d.e(x)\n    return [i for i in local]\nfor n in range(3): m = n"
    )
    found = cells.analyse(source, whole=False)
    imported, function = found["pieces"]
    assert imported["defines"] == ["d"]
    assert found["imports"] == {"d": "a.b.c"}
    assert function["defines"] == ["f"]
    assert "d" in function["uses"]
    assert "d.e" in function["mentions"]
    (whole,) = cells.analyse(source, whole=True)["pieces"]
    assert whole["defines"] == ["d", "f", "m", "n"]


@pytest.mark.parametrize("source", ["def f(:", "x = " + "(" * 500, "\x00", "%" * 5 + "\n" + "%x\n" * 500, "return"])
def test_cells_that_are_no_python(source):
    found = cells.analyse(source, whole=True)
    assert found["error"] or found["pieces"] == [] or source == "return"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from("%!?=()x:\n 1'"), max_size=40).map("".join))
def test_any_text_is_analysed(source):
    for whole in (True, False):
        assert set(cells.analyse(source, whole)) == {"source", "error", "imports", "pieces"}


# Files


@settings(max_examples=200, deadline=None)
@given(content=json_values | st.fixed_dictionaries({"nbformat": st.sampled_from([3, 4]), "cells": json_values}))
def test_any_json_is_read_or_refused(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.ipynb"
    path.write_text(json.dumps(content))
    with contextlib.suppress(Unreadable):
        assert all(isinstance(source, str) for source in read_notebook(path).cells)


def test_marks_are_found_anywhere_in_a_code_cell_only(tmp_path):
    path = tmp_path / "x.ipynb"
    sources = ["# EXERCISE: a\nx", "  #EXERCISE: b-1.2  \n", "# EXERCISE: a", "# EXERCISE: c\n# EXERCISE: d"]
    listed = [{"cell_type": "code", "source": s} for s in sources] + [
        {"cell_type": "markdown", "source": "# EXERCISE: e"}
    ]
    path.write_text(json.dumps({"nbformat": 4, "cells": listed}))
    assert read_notebook(path).marks == {"a": [0, 2], "b-1.2": [1], "c": [3], "d": [3]}
