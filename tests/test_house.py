"""The plan of the house: rooms import downward only, files stay readable, notebooks hold no outputs."""

import ast
import collections
import graphlib
import statistics
from pathlib import Path

import nbformat
import pytest
from shape_checks import CHECKED, UNCHECKED, modules

from course_lib import exercises

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "course_lib"
FILES = sorted(path for path in LIB.rglob("*.py"))
ROOMS = sorted({path.relative_to(LIB).parts[0] for path in FILES if path.parent != LIB})
LABS = sorted((ROOT / "labs").glob("*.ipynb"))

# What each room may import besides itself and the modules that all may use.
SHARED = {"checkout", "course_file", "shipped", "constants", "errors", "files", "preset", "settings", "tables"}
FREE = {"data", "measure", "show"}
ALLOWED = {
    "nn": set(),
    "models": {"nn"},
    "interop": {"nn", "models"},
    "train": {"nn", "models", "interop"},
    "infer": {"nn", "models", "interop"},
    "tune": {"nn", "models", "interop", "train", "infer"},
    "data": set(),
    "measure": set(),
    "show": set(),
    "exercises": set(),
    "grader": {"exercises"},
    "site": {"exercises", "grader", "data", "measure"},
    "recipes": {"nn", "models", "interop", "train", "infer", "tune"},
    "__main__": {"cli"},
    "cli": {"site", "grader", "data", "recipes", "infer"},
}
MAY_USE_FREE_ROOMS = {"nn", "models", "interop", "train", "infer", "tune", "recipes"}

DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def room(path):
    return path.relative_to(LIB).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "course_lib" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIB)))
def test_imports_run_downward(path):
    here = room(path)
    if here in SHARED | {"__init__"}:
        assert set(imported_rooms(path)) <= {"errors"}
        return
    allowed = ALLOWED[here] | {here} | SHARED | (FREE if here in MAY_USE_FREE_ROOMS else set())
    assert set(imported_rooms(path)) <= allowed


def test_nothing_but_nbmake_executes_notebooks():
    """Whatever drives a kernel does so by one of these; nbmake, which `site/execute.py` starts, has its own."""
    drivers = {"nbclient", "jupyter_client", "nbconvert", "papermill"}
    imported = {
        name.split(".")[0]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None) or "", *(alias.name for alias in node.names))
    }
    assert not imported & drivers


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_circles_inside_a_room(room):
    """Imports inside functions count too: they are how a circle is hidden."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (LIB / room).rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for name, path in modules.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        pairs = [(node.module, f"{node.module}.{alias.name}") for node in nodes for alias in node.names]
        # `from package import module` takes nothing from the package itself.
        targets = {inner if inner in modules else outer for outer, inner in pairs}
        graph[name] = targets & modules.keys()
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_shapes_are_checked_in_all_modules_but_those_listed():
    """A module that moves or is renamed stays on neither list by its old name."""
    assert {name for room in ROOMS for name in modules(room)} >= UNCHECKED
    for path in FILES:
        if "jaxtyping" in path.read_text():
            name = ".".join(path.relative_to(LIB).with_suffix("").parts)
            assert (name in UNCHECKED) != any(f"{name}.".startswith(f"{checked}.") for checked in CHECKED), name


def test_a_class_name_means_one_thing():
    """What one reads as `Plan` or `Table` is the same in every module; exercises have the names of their labs."""
    homes = collections.defaultdict(list)
    for path in FILES:
        if room(path) != "exercises":
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes[node.name].append(str(path.relative_to(LIB)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_most_files_are_short():
    """No rule on a single file, which was met by squeezing; ruff bounds the functions (pyproject.toml)."""
    assert statistics.median(len(path.read_text().splitlines()) for path in FILES) < 150


def test_there_are_labs_and_each_has_its_exercises():
    assert [path.stem for path in LABS] == exercises.labs()


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_notebooks_are_sources(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            code = [line for line in cell.source.splitlines() if not line.startswith(("import ", "from "))]
            assert len(code) <= 25 or cell.source.startswith("# EXERCISE"), cell.id  # a list of imports is not read
        else:
            assert "{number}" not in cell.source  # book syntax; JupyterLab and Colab would show it raw
            assert ":::" not in cell.source


@pytest.mark.parametrize("name", sorted({room(path) for path in FILES}))
def test_what_is_public_says_what_it_is(name):
    """Every public class, function and method has a docstring; shapes stand in the signatures."""
    silent = []
    for path in FILES:
        if room(path) != name or path.parent.parent == LIB / "exercises":  # an exercise's prompt says what it is
            continue
        for node in ast.parse(path.read_text()).body:
            if getattr(node, "name", "_").startswith("_"):
                continue
            inside = [node, *node.body] if isinstance(node, ast.ClassDef) else [node]
            for part in inside:
                public = isinstance(part, DEFINITIONS) and not part.name.startswith("_")
                if public and not ast.get_docstring(part):
                    silent.append(f"{path.relative_to(LIB)}: {part.name}")
    assert not silent


def test_each_equation_is_listed_where_it_is(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course.library import sources

    found = {name: (what, where) for name, what, where in sources(LIB / "nn")}
    assert found["course_lib.nn.attention.attention"][1].endswith("Vaswani et al. 2017, equation 1")
    assert found["course_lib.nn.feed_forward.GatedFeedForward"] == (
        "down(act(gate(x)) * up(x)): one branch decides how much of the other passes",
        "Shazeer 2020, equation 6",
    )
    assert found["course_lib.nn.moe.load_balancing_loss"][1] == "Fedus et al. 2021, equations 4 to 6"
