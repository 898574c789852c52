"""Exercises of an instructor's own, and private cases, from a folder outside the package."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from shell import course
from submissions import build

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.exercises.errors import ExerciseError
from course_lib.grader.exam import Exam
from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.notebook import lab_of, read_notebook
from course_lib.site.paths import Project
from course_lib.site.points import told_points
from course_lib.site.student_exercise import student_source

ROOT = Path(__file__).resolve().parent.parent
PRIVATE = """\
import torch
from course_lib.exercises.spec import Case

def private(rng):
    return [Case("a private row", (torch.randn(7, generator=rng),))]
"""
GOOD = """\
from course_lib.exercises.spec import Case, Exercise

def twice(x):
    return 2 * x

def cases(rng):
    return [Case('one', (1,)), Case('two', (2,))]

EXERCISE = Exercise(
    id='twice', title='Twice', points=1, minutes=1, difficulty=1, kind='code', hints=('', ''), reference=twice,
    cases=cases, see=''
)
"""


@pytest.fixture
def fork(tmp_path, monkeypatch):
    """A checkout with nothing in it yet."""
    for name in ("_toc.yml", "_config.yml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(fork, name, text):
    path = fork / "own_exercises" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def exams_of(lab):
    return [Exam(exercise) for exercise in exercises.of_lab(lab)]


def test_a_new_exercise_is_found_and_graded(fork, capsys):
    assert course("new-exercise", "week_3", "agreement_share") == 0
    folder = "own_exercises/week_3/agreement_share"
    assert capsys.readouterr().out == f"wrote {folder}.py\nwrote {folder}.ipynb\n"
    assert exercises.lab_of("agreement_share") == "week_3"
    assert exercises.lab("week_3").exercises == ("agreement_share",)
    assert "week_3" in exercises.labs()
    exercise = exercises.find("agreement_share")
    notebook = fork / "own_exercises" / "week_3" / "agreement_share.ipynb"
    assert lab_of(read_notebook(notebook)) == "week_3"
    exam = Exam(exercise, seed=3)
    assert exam.grade(LocalSubject(exercise.reference))
    for mistake in exercise.mistakes:
        assert exam.grade(LocalSubject(mistake.solution)).mistake == mistake.message
    stub = "".join(json.loads(notebook.read_text())["cells"][2]["source"]).partition("\n")[2]
    assert "targets.numel" not in student_source(exercise, stub, hints=2)

    assert course("new-exercise", "week_3", "agreement_share") == 2
    assert "is there already" in capsys.readouterr().err
    assert course("new-exercise", "ch01_attention", "sofmax") == 2
    assert "ch01_attention has an exercise softmax; for private cases of it" in capsys.readouterr().err
    assert not (fork / "own_exercises" / "ch01_attention").exists()


def test_private_cases_are_asked_in_grading_alone(fork):
    assert course("new-exercise", "ch01_attention", "causal_mask") == 0
    write(fork, "ch01_attention/softmax", PRIVATE)
    assert exercises.find("softmax").private is None
    lab = {exercise.id: exercise for exercise in exercises.of_lab("ch01_attention")}
    assert lab["causal_mask"].private(None) == []
    exercise = lab["softmax"]
    assert "a private row" not in [case.name for case in Exam(exercise).cases]
    exam = Exam(exercise, seed=5)
    assert exam.cases[-1].name == exam.fresh[-1] == "a private row"
    assert exam.grade(LocalSubject(exercise.reference))
    assert len(lab) == 6


def test_a_private_case_that_the_reference_cannot_answer_is_named_with_its_file(fork):
    write(fork, "ch01_attention/softmax", PRIVATE.replace("torch.randn(7, generator=rng)", "1"))
    exercise = {exercise.id: exercise for exercise in exercises.of_lab("ch01_attention")}["softmax"]
    with pytest.raises(ExerciseError, match=r"^own_exercises/ch01_attention/softmax.py: on a private case, the ref"):
        Exam(exercise, seed=5)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("week_3/twice", ("2 * x", "2 *"), "own_exercises/week_3/twice.py, line 4: SyntaxError"),
        ("week_3/twice", ("Case, Ex", "Kase, Ex"), "own_exercises/week_3/twice.py, line 1: ImportError"),
        ("week_3/twice", ("EXERCISE =", "exercise ="), "has no `EXERCISE = Exercise(...)` at its end"),
        ("week_3/twice", ("id='twice'", "id='thrice'"), 'says id="thrice"; the id is the name of the file, "twice"'),
        ("week_3/twice", ("(2,))", "(two,))"), "twice.py, line 7: `cases` stops: NameError"),
        ("week_3/twice", ("'two'", "'one'"), "two cases are called 'one'"),
        ("week_3/twice", (", Case('two', (2,))", ""), "`cases` returns 1 cases; it needs at least 2"),
        ("week_3/twice", ("2 * x", "x.two"), "the reference of 'twice' fails on 'one'"),
        ("week_3/softmax", ("", ""), "ch01_attention has an exercise of this name; choose another"),
        ("ch01_attention/softmax", ("", ""), "has no `def private(rng)`, and the course has an exercise of this name"),
    ],
)
def test_a_mistake_in_one_is_a_sentence(fork, name, change, sentence, capsys):
    write(fork, name, GOOD.replace(*change))
    with pytest.raises(ExerciseError) as error:
        exams_of(name.split("/")[0])
    assert sentence in str(error.value)
    if name == "week_3/twice":  # and so says the command
        build.write(fork, {"handed_in": build.notebook(["# EXERCISE: twice\ndef twice(x):\n    return 2 * x"])})
        assert course("check", "handed_in.ipynb") == 2
        assert sentence in capsys.readouterr().err


# Points in course.toml


def points_of(lab):
    return [exercise.points for exercise in exercises.of_lab(lab)]


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", [2, 1, 4, 3, 2, 2]),
        ("softmax = 5", [5, 1, 4, 3, 2, 2]),
        ("ch01_attention = 28", [4, 2, 8, 6, 4, 4]),  # twice what they were
        ("ch01_attention = 17\nsoftmax = 5", [5, 1, 4, 3, 2, 2]),
        ("ch01_attention = 6", [1, 1, 1, 1, 1, 1]),
        ("ch01_attention = 8", [1, 1, 2, 2, 1, 1]),
        ("ch01_heads = 90", [2, 1, 4, 3, 2, 2]),
    ],
)
def test_a_fork_has_points_of_its_own(fork, text, points):
    (fork / "course.toml").write_text(f"[points]\n{text}\n")
    assert points_of("ch01_attention") == points
    assert exercises.find("softmax").points == 2  # a check needs no points


def test_an_exercise_of_ones_own_can_have_a_line_too(fork):
    write(fork, "week_3/twice", GOOD)
    (fork / "course.toml").write_text("[points]\ntwice = 7\n")
    assert points_of("week_3") == [7]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mask = 2", "course.toml, line 2: there is no exercise or lab called `mask`"),
        ("\nsofmax = 2", "course.toml, line 3: there is no exercise or lab called `sofmax`; did you mean `softmax`?"),
        ("ch01_attention = 5", "line 2: `ch01_attention` has 5 points, and its exercises need at least 6"),
        (
            "softmax = 5\nch01_attention = 9",
            "line 3: `ch01_attention` has 9 points, and its exercises need at least 10",
        ),
    ],
)
def test_points_that_cannot_be_are_a_sentence(fork, text, sentence):
    (fork / "course.toml").write_text(f"[points]\n{text}\n")
    with pytest.raises(CourseError, match="line") as error:
        points_of("ch01_attention")
    assert sentence in str(error.value)


def test_notebooks_tell_the_points_that_are_given(fork):
    lab = Project(ROOT).labs / "ch01_attention.ipynb"
    assert told_points(lab) == lab.read_bytes()
    (fork / "course.toml").write_text("[points]\nch01_attention = 28\nsoftmax = 1\n")
    points = {exercise.id: exercise.points for exercise in exercises.of_lab("ch01_attention")}
    cells = json.loads(told_points(lab))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert "Six exercises, 28 points, about 85 minutes" in texts[0]
    said = {}
    for text in texts:
        if task := re.search(r"^### Exercise:? `(\w+)`", text, re.MULTILINE):
            said[task[1]] = int(re.search(r"(\d+) points?, ", text)[1])
    assert said == points
    assert points["softmax"] == 1
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    assert code == [cell["source"] for cell in json.loads(lab.read_bytes())["cells"] if cell["cell_type"] == "code"]


def test_an_export_has_the_points_too(fork):
    lab = "ch01_attention"
    (fork / "labs").mkdir()
    (fork / "labs" / f"{lab}.ipynb").write_bytes((ROOT / "labs" / f"{lab}.ipynb").read_bytes())
    (fork / "course.toml").write_text("[points]\nch01_attention = 28\n")
    assert course("export", "nbgrader", lab, fork / "out") == 0
    cells = json.loads((fork / "out" / "source" / lab / f"{lab}.ipynb").read_text())["cells"]
    given = [
        cell["metadata"]["nbgrader"]["points"] for cell in cells if "points" in cell["metadata"].get("nbgrader", {})
    ]
    assert given == [4, 2, 8, 6, 4, 4]
    assert "8 points, about 15 minutes" in str(cells)
    where = ("--course", "git+https://github.com/OWNER/STUDENTS")
    assert course("export", "github", lab, fork / "github", *where) == 0
    assert "*8 points, about 15 minutes.*" in (fork / "github" / f"{lab}.ipynb").read_text()
    assert course("export", "gradescope", lab, fork / "out.zip", "--seed", 5) == 0
    with zipfile.ZipFile(fork / "out.zip") as archive:
        points = json.loads(archive.read("settings.json"))["points"]
    assert list(points.values()) == given


@pytest.mark.parametrize("kind", ["nbgrader", "otter", "github", "classroom50"])
def test_a_lab_of_ones_own_is_not_exported(fork, kind, capsys):
    write(fork, "week_3/twice", GOOD)
    options = ("--course", "git+https://github.com/OWNER/STUDENTS") if kind in ("github", "classroom50") else ()
    assert course("export", kind, "week_3", fork / "out", *options) == 2
    assert "week_3 has no notebook in labs/: a lab of your own is not exported" in capsys.readouterr().err


def test_gradescope_does_not_get_them(fork, capsys):
    write(fork, "ch01_attention/softmax", PRIVATE)
    assert course("export", "gradescope", "ch01_attention", "out.zip") == 2
    assert "own_exercises/ch01_attention does not travel to Gradescope" in capsys.readouterr().err
    assert not (fork / "out.zip").exists()


@pytest.mark.parametrize("name", ["Week", "class", "a-b"])
def test_a_name_is_a_name(fork, name, capsys):
    assert course("new-exercise", "week_3", name) == 2
    assert "is no name" in capsys.readouterr().err


RUNNING = """\
import torch
from course_lib.exercises.spec import Case, Exercise

def running(x):
    return x.cumsum(-1)

def cases(rng):
    return [Case(f'{n} numbers', (torch.randn(n, generator=rng),)) for n in (5, 6)]

EXERCISE = Exercise(
    id='running', title='Running sum', points=1, minutes=1, difficulty=1, kind='code', hints=('', ''),
    reference=running, cases=cases, see=''
)
"""


def test_a_slip_that_is_none_is_declared_beside_ones_own_exercises(fork, capsys):
    write(fork, "week_3/running", RUNNING)
    assert course("audit", "week_3") == 1
    assert "passes: return x.cumsum(-1)  ->  return x.cumsum(-0)" in capsys.readouterr().out
    declared = fork / "own_exercises" / "equivalent_mutants.toml"
    declared.write_text('running = ["return x.cumsum(-1)  ->  return x.cumsum(-0)"]\n')
    assert course("audit", "week_3") == 0
    declared.write_text("running = 3\n")
    assert course("audit", "week_3") == 2
    assert "own_exercises/equivalent_mutants.toml: `running` is a list of changes" in capsys.readouterr().err
