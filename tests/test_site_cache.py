"""A lab is run again when something that it runs or reads has changed, and only then."""

import ast
import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from site_project import ROOT

from course_lib.site import cache
from course_lib.site.paths import Project
from course_lib.site.solve import solve

LABS = sorted(path.stem for path in (ROOT / "labs").glob("*.ipynb"))
# Python itself says what a lab imports. What takes long is imported once; then each lab's import lines run in a fork.
ASK_PYTHON = """
import json, os, sys
import IPython, matplotlib.pyplot, tokenizers, torch.distributed.checkpoint.state_dict
for lab, lines in json.load(sys.stdin).items():
    if not (child := os.fork()):
        exec("\\n".join([*lines, "from course_lib.exercises import of_lab"]))
        of_lab(lab)
        files = [module.__file__ for name, module in sys.modules.items() if name.startswith("course_lib")]
        print(json.dumps([lab, files]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def cells(lab):
    notebook = nbformat.read(ROOT / "labs" / f"{lab}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.id != cache.SETUP_CELL]


def files(lab):
    return set(cache.reached(Project(ROOT), lab, cells(lab)))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A function that changes files in a copy of the course, and returns the labs whose keys are others then."""
    root = tmp_path_factory.mktemp("course")
    for name in ("course_lib", "results"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    notebooks = {lab: solve(nbformat.read(ROOT / "labs" / f"{lab}.ipynb", as_version=4)) for lab in LABS}

    def key(lab):
        return cache.key(Project(root), lab, notebooks[lab])

    before = {lab: key(lab) for lab in LABS}

    def changed_by(*names, labs=LABS):
        old = {root / name: (root / name).read_text(encoding="utf8") for name in names}
        for path, text in old.items():
            path.write_text(text + "\n", encoding="utf8")
        changed = {lab for lab in labs if key(lab) != before[lab]}
        for path, text in old.items():
            path.write_text(text, encoding="utf8")
        return changed

    return changed_by


@pytest.fixture(scope="module")
def loaded():
    """The files of course_lib that each lab's own import lines and its exercises load."""
    lines = {lab: [line for cell in cells(lab) for line in imports(cell)] for lab in LABS}
    command = [sys.executable, "-c", ASK_PYTHON]
    done = subprocess.run(command, input=json.dumps(lines), cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith('["'))


@pytest.mark.parametrize("lab", LABS)
def test_what_a_lab_imports_is_in_its_key(loaded, lab):
    of_others = [f"/exercises/{other}/" for other in LABS if other != lab]
    files_loaded = {name for name in loaded[lab] if not any(folder in name for folder in of_others)}
    assert files_loaded <= {str(file) for file in files(lab)}


def imports(cell):
    nodes = ast.walk(ast.parse(cell))
    return [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("lab", LABS)
def test_a_space_in_an_exercise_runs_its_own_lab_alone_again(keys, lab):
    first = {each: min((ROOT / "course_lib" / "exercises" / each).glob("*.py")).relative_to(ROOT) for each in LABS}
    assert keys(first.pop(lab), labs=[lab]) == {lab}
    assert keys(*first.values(), labs=[lab]) == set()


def test_a_module_runs_the_labs_that_reach_it_again(keys):
    attention = ROOT / "course_lib" / "nn" / "attention.py"
    reaching = {lab for lab in LABS if attention in files(lab)}
    assert keys("course_lib/nn/attention.py") == reaching
    assert keys("course_lib/measure/preset.py") == set(LABS)


def test_what_no_lab_runs_changes_no_key(keys):
    names = ("grader/report.html", "grader/report.py", "grader/command.py", "site/build.py", "cli.py")
    assert keys(*(f"course_lib/{name}" for name in names)) == set()


def test_data_beside_a_module_and_committed_results_count_where_they_are_read(keys):
    assert keys("course_lib/show/explorer.js", labs=["ch01_attention"])
    # The lab itself, or what it calls in a recipe: only the labs that read this recipe's results are run again.
    reading = {
        "chains": "chains_sweep",
        "moe-sizes": 'committed_run("moe-sizes"',
        "positions": "positions_sweep",
        "scaling": "scaling_sweep",
        "two-relations": "relations_sweep",
    }
    for recipe, call in reading.items():
        result = next((ROOT / "results" / "cpu").glob(f"{recipe}-seed*.json")).relative_to(ROOT)
        assert keys(result) == {lab for lab in LABS if call in "".join(cells(lab))} != set()
    for made in list((ROOT / "results" / "replications").rglob("*.json"))[:1]:
        assert keys(made.relative_to(ROOT)) == set()


def test_every_call_for_committed_results_names_its_recipe():
    """Otherwise the key of a lab would miss the results that it reads."""
    texts = [file.read_text(encoding="utf8") for file in (ROOT / "course_lib" / "recipes").rglob("*.py")]
    texts += [cell for lab in LABS for cell in cells(lab)]
    calls = sum(len(re.findall(r"(?<!def )\bcommitted_run\(", text)) for text in texts)
    assert calls == sum(len(cache.COMMITTED_RUN.findall(text)) for text in texts) > 0


def test_a_replication_depends_on_the_packages_that_its_lab_names(tmp_path):
    """Another entry of the registry leaves it; another version of a named one does not."""
    name = "course_lib/" + cache.REGISTRY
    text = (ROOT / name).read_bytes()
    code = b'fetch("wikipedia-leads"), fetch(f"emoji-{vendor}")'

    def changed(before, after):
        assert before in text
        parts = [{name: registry, "a.py": code} for registry in (text, text.replace(before, after))]
        return len({cache.named_packages(each) for each in parts}) == 2

    assert not changed(b"[mathjax]", b"[other]")
    assert changed(b"[emoji-twemoji]", b"[emoji-other]")
    assert changed(b"[wikipedia-leads]\n", b"[wikipedia-leads]\nonly-a-test = 1\n")
