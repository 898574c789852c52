"""The wire between grader and worker, and the reading of notebooks: whatever comes in, nothing but data comes out."""

import contextlib
import json
import re
import struct

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from course_lib.grader import notebook as reading
from course_lib.grader.inside import calls, cells, frames
from course_lib.grader.inside.outcomes import Raised
from course_lib.grader.notebook import Unreadable, read_notebook
from course_lib.grader.worker_client import _checked

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


@pytest.mark.parametrize(
    "view",
    [
        torch.randn(1, 2)[:, 1],
        torch.randn(1, 1, 3)[..., ::2].transpose(0, 2),
        torch.randn(4)[::3],
        torch.randn(()).expand(2, 3),
        torch.randn(3, dtype=torch.complex64).conj(),
        torch.randn(3, dtype=torch.complex64).conj().imag,
    ],
    ids=["one number of a row", "transposed", "strided", "expanded", "conjugate", "negated"],
)
def test_a_view_arrives_as_its_numbers(view):
    """The gradient of what was stacked is a view with a stride, even if it is a single number."""
    assert torch.equal(frames.receive(reader(frames.pack(view))), view)


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
        with pytest.raises(calls.Failure):
            calls.plain([value])
    with pytest.raises(calls.Failure, match="about 5,000 digits"):
        calls.plain([10**5000])
    assert calls.plain((1, np.float32(2), {"a": None})) == [1, 2.0, {"a": None}]
    assert calls.plain({(1, (2, 3)): 4}) == {"(1, [2, 3])": 4}


# Cells


def statements(source):
    found = cells.analyse(source)
    assert found["error"] is None
    return found["statements"]


@pytest.mark.parametrize(
    ("source", "binds", "changes", "uses"),
    [
        ("import torch, a.b", {"torch", "a"}, set(), set()),
        ("from a import *", {"*"}, set(), set()),
        ("from __future__ import annotations", {"*", "annotations"}, set(), set()),
        ("x = y = torch.tensor(z)", {"x", "y"}, set(), {"torch", "z"}),
        ("x += 1", {"x"}, set(), {"x"}),
        ("x: int = 3", {"x"}, set(), {"int"}),
        ("x[i].y[2] = z", set(), {"x"}, {"x", "i", "z"}),
        ("del x[0]", set(), {"x"}, {"x"}),
        ("x.parts().append(y)", set(), {"x"}, {"x", "y"}),
        ("print(x)", set(), set(), {"print", "x"}),
        ("for i in range(3):\n    x.append(i)", {"i"}, {"x"}, {"range", "x", "i"}),
        ("if a:\n    b = 1\nelse:\n    c = 2", {"b", "c"}, set(), {"a"}),
        ("x = [i for i in y]", {"x"}, set(), {"y"}),
        ("f = lambda a, b=c: a + b + d", {"f"}, set(), {"c", "d"}),
        ("@cached(n)\ndef f(a: T, b=e):\n    m = a\n    m.x = g(m)", {"f"}, set(), {"cached", "n", "T", "e", "g"}),
        ("class A(B):\n    y = 1\n    def f(self):\n        return C", {"A"}, set(), {"B", "C"}),
        ("with a as b:\n    c = 1", {"b", "c"}, set(), {"a"}),
        ("return x", set(), set(), set()),
    ],
)
def test_names_that_a_statement_binds_changes_and_uses(source, binds, changes, uses):
    (found,) = statements(source)
    assert (set(found["binds"]), set(found["changes"])) == (binds, changes)
    assert {name for name in found["uses"] if not name.startswith("__")} == uses  # the compiler's own differ by version


@pytest.mark.parametrize(
    ("source", "stub"),
    [
        ("def f(x):\n    'text'\n    raise NotImplementedError", True),
        ("def f(x):\n    raise NotImplementedError('soon')", True),
        ("class A:\n    def f(x):\n        raise NotImplementedError", True),
        ("def f(x):\n    if x: raise NotImplementedError\n    return x", False),
        ("f = 3", False),
    ],
)
def test_stubs(source, stub):
    (found,) = statements(source)
    assert found["stub"] is stub


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
        (
            '#@title A form { run: "auto" }\n%%time\nx = 2 #@param',
            '#@title A form { run: "auto" }\npass\nx = 2 #@param',
        ),
        ("!pip install \\\n  torch \\\n  numpy\ny = 2", "pass\npass\npass\ny = 2"),
    ],
)
def test_magics_are_taken_out_and_lines_stay(source, cleaned):
    found = cells.analyse(source)
    assert found["source"] == cleaned
    assert found["error"] is None


def test_full_names_of_imports_and_of_what_is_mentioned():
    found = cells.analyse("from a.b import c as d\ndef f(x): return d.e(x)")
    assert found["imports"] == {"d": "a.b.c"}
    assert "d.e" in found["statements"][1]["mentions"]


@pytest.mark.parametrize("source", ["def f(:", "x = " + "(" * 500, "\x00", "%" * 5 + "\n" + "%x\n" * 500, "return"])
def test_cells_that_are_no_python(source):
    found = cells.analyse(source)
    assert found["error"] or found["statements"] == [] or source == "return"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from("%!?=()x:\n 1'"), max_size=40).map("".join))
def test_any_text_is_analysed(source):
    assert set(cells.analyse(source)) == {"source", "error", "imports", "statements"}


# Files


@settings(max_examples=200, deadline=None)
@given(content=json_values | st.fixed_dictionaries({"nbformat": st.sampled_from([3, 4]), "cells": json_values}))
def test_any_json_is_read_or_refused(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.ipynb"
    path.write_text(json.dumps(content))
    with contextlib.suppress(Unreadable):
        assert all(isinstance(source, str) for source in read_notebook(path).cells)


@settings(max_examples=300, deadline=None)
@given(
    content=json_values
    | st.fixed_dictionaries(
        {
            "nbformat": st.sampled_from([3, 4]),
            "cells": json_values
            | st.lists(
                json_values
                | st.fixed_dictionaries(
                    {"cell_type": st.sampled_from(["code", "markdown"]), "source": json_values | st.lists(st.text())},
                    optional={"outputs": json_values, "metadata": json_values},
                )
            ),
        }
    )
)
def test_a_large_file_without_its_outputs_has_the_cells_of_the_whole(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "large.ipynb"
    text = json.dumps(content)
    assume(not re.search("NaN|Infinity", text))  # which are no JSON, though Python writes and reads them
    path.write_text(text)

    def cells(whole):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "LARGEST_WHOLE", whole)
            try:
                return read_notebook(path).cells
            except Unreadable:
                return None

    whole, skimmed = cells(10**9), cells(0)
    if isinstance(content, dict) and content.get("nbformat") == 3:
        assert skimmed is None, "of format 3 only small files are read"
    elif whole is not None:
        assert skimmed == whole


def test_a_file_of_countless_parts_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_WHOLE", 0)
    monkeypatch.setattr(reading, "MOST_EVENTS", 1000)
    path = tmp_path / "x.ipynb"
    path.write_text('{"nbformat": 4, "cells": [' + "[" * 2000 + "]" * 2000 + "]}")
    with pytest.raises(Unreadable, match="too many parts"):
        read_notebook(path)


def test_the_largest_files_are_refused_unread(tmp_path):
    path = tmp_path / "x.ipynb"
    with open(path, "wb") as file:
        file.truncate(reading.LARGEST_FILE + 1)  # a hole: it takes no room on the disk
    with pytest.raises(Unreadable, match="larger than 250 MB"):
        read_notebook(path)


def test_marks_are_found_anywhere_in_a_code_cell_only(tmp_path):
    path = tmp_path / "x.ipynb"
    sources = ["# EXERCISE: a\nx", "  #EXERCISE: b-1.2  \n", "# EXERCISE: a", "# EXERCISE: c\n# EXERCISE: d"]
    listed = [{"cell_type": "code", "source": s} for s in sources] + [
        {"cell_type": "markdown", "source": "# EXERCISE: e"}
    ]
    path.write_text(json.dumps({"nbformat": 4, "cells": listed}))
    assert read_notebook(path).marks == {"a": [0, 2], "b-1.2": [1], "c": [3], "d": [3]}


@pytest.mark.parametrize(
    "mark",
    ["# Exercise: a_b", "#exercise:a_b", "  #  EXERCISE :A_b  (2 points)", "## exercise\t:\ta_b", "# EXERCISE：a_b"],
)
def test_marks_are_read_whatever_their_case_and_spaces(mark, tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": f"%%time\n{mark}\nx"}]}))
    assert read_notebook(path).marks == {"a_b": [0]}


def test_an_error_says_little_of_what_it_was_asked():
    """Digits spelt in letters are in no number that a report leaves out, so the length is what bounds them."""
    said = dict.fromkeys(("type", "message", "text"), "three point one four " * 50)
    reply = {"id": 1, "value": None, "changed": None, "failure": {**said, "line": 3, "outcome": Raised.OTHER.value}}
    failure = _checked(reply, 1).failure
    assert len(failure.message) + len(failure.type) + len(failure.text) < 400
    assert len(_checked({**reply, "failure": {**reply["failure"], "message": "short"}}, 1).failure.message) == 5
