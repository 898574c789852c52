"""The exercises of a lab as nbgrader and otter-grader read them, and the workflow for GitHub."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import nbformat
import pytest
import yaml
from shell import course
from submissions import build

from course_lib import exercises
from course_lib.site.build import read_lab
from course_lib.site.cache import SETUP_CELL
from course_lib.site.paths import find_project
from course_lib.site.solve import exercise_id

LAB = "primer"  # it has a class and functions
EXERCISES = exercises.of_lab(LAB)


def stubs(notebook):
    return {id: cell.source.rstrip() for cell in notebook.cells if (id := exercise_id(cell))}


ORIGINAL = stubs(read_lab(find_project(), LAB))


def run_cells(notebook, changed=lambda source: source):
    """Run the code in one namespace, as a kernel does; return the sources of the cells that failed an assertion."""
    space, failed = {}, []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id != SETUP_CELL and "%pip" not in cell.source:
            try:
                exec(changed(cell.source), space)
            except AssertionError:
                failed.append(cell.source)
    return failed


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nbgrader")
    assert course("export", "nbgrader", LAB, folder) == 0
    return folder


@pytest.fixture(scope="module")
def otter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("otter")
    assert course("export", "otter", LAB, folder) == 0
    return folder


def without(source, begin, end):
    """A source without the lines from `begin` to `end`."""
    before, rest = source.split(f"{begin}\n")
    return before + rest.split(end)[1]


def test_a_source_of_nbgrader_holds_stub_solution_and_check(nbgrader):
    notebook = nbformat.read(nbgrader / "source" / LAB / f"{LAB}.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    assert len(cells) == 2 * len(EXERCISES)
    for exercise in EXERCISES:
        answer, test = cells[exercise.id], cells[f"{exercise.id}-check"].metadata.nbgrader
        assert without(answer.source, "### BEGIN SOLUTION", "### END SOLUTION").rstrip() == ORIGINAL[exercise.id]
        assert answer.metadata.nbgrader.solution
        assert not answer.metadata.nbgrader.grade
        assert (test.grade, test.locked, test.points, test.schema_version) == (True, True, exercise.points, 3)
    assert not run_cells(notebook), "the instructor's version passes its own tests"
    failed = run_cells(
        notebook, lambda s: without(s, "### BEGIN SOLUTION", "### END SOLUTION") if "### BEGIN" in s else s
    )
    assert len(failed) == len(EXERCISES), "and a learner's stubs fail them"


def test_another_lab_joins_the_course_of_nbgrader_and_another_configuration_stays(nbgrader, tmp_path, capsys):
    assert course("export", "nbgrader", "ch01_attention", nbgrader) == 0
    assert sorted(path.name for path in (nbgrader / "source").iterdir()) == ["ch01_attention", LAB]
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n")
    assert course("export", "nbgrader", LAB, tmp_path) == 2
    assert "add to it: c.ClearSolutions.code_stub" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["nbgrader_config.py"]


def test_a_source_of_otter_holds_its_blocks(otter):
    notebook = nbformat.read(otter / f"{LAB}.ipynb", as_version=4)
    nbformat.validate(notebook)
    blocks = [cell.source for cell in notebook.cells if cell.cell_type == "raw"]
    assert yaml.safe_load(blocks[0])["tests"] == {"ok_format": False}
    questions = [yaml.safe_load(block) for block in blocks if block.startswith("# BEGIN QUESTION")]
    assert questions == [{"name": exercise.id, "points": exercise.points} for exercise in EXERCISES]
    assert blocks[2:6] == ["# BEGIN SOLUTION", "# END SOLUTION", "# BEGIN TESTS", "# END TESTS"]
    assert not run_cells(notebook)


# With `pip install nbgrader otter-grader`, which the course's own tests do not need.

if find_spec("nbgrader"):

    def test_nbgrader_makes_the_learners_version(nbgrader):
        words = [sys.executable, "-m", "nbgrader", "generate_assignment", LAB]
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # it calls `alembic` by name
        subprocess.run(words, cwd=nbgrader, env={**os.environ, "PATH": path}, check=True)
        release = nbformat.read(nbgrader / "release" / LAB / f"{LAB}.ipynb", as_version=4)
        assert stubs(release) == ORIGINAL


if find_spec("otter"):

    def test_otter_makes_the_learners_version(otter):
        words = [sys.executable, "-m", "otter", "assign", "--no-run-tests", f"{LAB}.ipynb", "dist"]
        subprocess.run(words, cwd=otter, check=True)
        student = nbformat.read(otter / "dist" / "student" / f"{LAB}.ipynb", as_version=4)
        assert stubs(student) == ORIGINAL


# GitHub


def test_the_workflow_checks_the_lab(tmp_path):
    where = ("--course", "git+https://github.com/OWNER/NAME@main")
    assert course("export", "github", LAB, tmp_path, *where) == 0
    workflow = yaml.safe_load((tmp_path / ".github" / "workflows" / "check.yml").read_text())
    assert set(workflow[True]) == {"push", "workflow_dispatch"}, "YAML 1.1 reads `on` as true, and GitHub does not"
    steps = {step.get("name"): step.get("run") for step in workflow["jobs"]["check"]["steps"]}
    assert "pip install 'git+https://github.com/OWNER/NAME@main'\n" in steps["The course"]
    notebook = (tmp_path / f"{LAB}.ipynb").read_text()
    assert 'COURSE = \\"git+https://github.com/OWNER/NAME@main\\"' in notebook, "not that of the fork, which is private"
    for script in filter(None, steps.values()):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "course"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m course_lib "$@"\n')
    command.chmod(0o755)
    root = str(find_project().root)
    places = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": root}

    places |= {"GITHUB_REPOSITORY": "school/ana", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_SHA": "abc"}
    words = ["bash", "-e", "-c", steps["The checks"]]
    done = subprocess.run(words, cwd=tmp_path, env=places, capture_output=True, text=True)
    assert f"0 of {len(EXERCISES)} exercises of {LAB} pass" in done.stdout, done.stderr
    assert done.returncode == 1
    result = as_classroom_50_reads_it(json.loads((tmp_path / "result.json").read_text()))
    assert (result["score"], result["max-score"]) == (0, sum(exercise.points for exercise in EXERCISES))
    assert result["commit"] == "https://github.com/school/ana/commit/abc"
    assert "classroom" not in str(steps).replace("result.json", ""), "the service has ended"
    build.write(tmp_path, {LAB: build.notebook(build.solved(LAB))})
    assert course("export", "github", LAB, tmp_path, *where) == 0
    assert course("check", tmp_path / f"{LAB}.ipynb") == 0, "the notebook that is there stays, and passes"


def as_classroom_50_reads_it(result):
    """The result, if it keeps the contract classroom50/result/v1; see `grader/result_file.py` for where that is."""
    texts = ("schema", "classroom", "assignment", "assignment_type", "owner")
    texts += ("submission", "commit", "release", "review")
    assert set(result) == {*texts, "datetime", "score", "max-score", "tests"}, "no others are allowed"
    assert all(isinstance(result[key], str) and result[key] for key in texts)
    assert result["schema"] == "classroom50/result/v1"
    assert result["assignment_type"] in ("individual", "group")
    assert result["submission"].startswith("submit/")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result["datetime"])
    for scored in (result, *result["tests"]):
        assert type(scored["score"]) is type(scored["max-score"]) is int
        assert 0 <= scored["score"] <= scored["max-score"]
    assert all(type(test["passed"]) is bool and test["test-name"] for test in result["tests"])
    return result


def test_classroom_50_gets_an_autograder_and_its_result(tmp_path):
    where = ("--course", "git+https://github.com/OWNER/NAME@main")
    assert course("export", "classroom50", LAB, tmp_path, *where) == 0
    grader = (tmp_path / "autograder.py").read_text()
    compile(grader, "autograder.py", "exec")
    assert '"git+https://github.com/OWNER/NAME@main"' in grader
    assert f"autograders/{LAB}/" in grader
    last = f"# EXERCISE: {EXERCISES[-1].id}"
    [command] = re.findall(r'\[sys.executable, "-m", "course_lib", (.*)\], check=False', grader)
    build.write(tmp_path, {LAB: build.notebook([cell for cell in build.solved(LAB) if last not in cell])})
    there = {"CLASSROOM": "llm", "ASSIGNMENT": "ch01-attention", "MODE": "individual", "USERNAME": "ana"}
    there |= {"SUBMISSION_TAG": "submit/1", "COMMIT_URL": "c", "RELEASE_URL": "r", "REVIEW_URL": "d"}
    places = {**os.environ, **there, "PYTHONPATH": str(find_project().root)}
    words = [sys.executable, "-m", "course_lib", *json.loads(f"[{command}]")]
    assert subprocess.run(words, cwd=tmp_path, env=places, capture_output=True).returncode == 1
    result = as_classroom_50_reads_it(json.loads((tmp_path / "result.json").read_text()))
    said = [result[key] for key in ("classroom", "assignment", "owner", "submission", "commit", "release", "review")]
    assert said == ["llm", "ch01-attention", "ana", "submit/1", "c", "r", "d"]
    assert result["score"] == sum(exercise.points for exercise in EXERCISES[:-1])
    assert [test["passed"] for test in result["tests"]] == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("github", LAB), "GitHub has to install the course"),
        (("github", LAB, "--course", "x' && rm"), "--course is what pip installs"),
        (("github", "ch99"), "no lab called 'ch99'"),
        (("nbgrader", "ch99"), "no lab called 'ch99'"),
        (("otter", "ch99"), "no lab called 'ch99'"),
    ],
)
def test_errors_of_exports_are_sentences(tmp_path, capsys, words, said):
    kind, lab, *options = words
    assert course("export", kind, lab, tmp_path / "new", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
