"""`course release`: the student version hides the solutions, checks alike, and builds."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace

import nbformat
import pytest
from shell import course
from site_project import ROOT, lab_cells, make_project, write_lab
from submissions import build, wrong

from course_lib import exercises
from course_lib.errors import CourseError
from course_lib.grader.command import check_notebook
from course_lib.grader.exam import Exam
from course_lib.grader.inside.calls import LocalSubject
from course_lib.site import release as module
from course_lib.site import replication
from course_lib.site.configure import configure
from course_lib.site.paths import Project
from course_lib.site.release import chosen, release
from course_lib.site.solve import exercise_id, solve
from course_lib.site.student_exercise import student_source, visible_cases

LAB = "ch01_attention"
TOC = f"""\
format: jb-book
root: book/index
parts:
  - caption: Parts
    numbered: 1
    chapters:
      - file: book/ch01_one
        sections:
          - file: labs/{LAB}
      - file: book/ch02_two
        sections:
          - file: labs/ch02_tiny
"""
COURSE = f"""\
name = "Ours"
authors = ["Ada"]
chapters = ["ch01"]
hints = 1
late_penalty = "10%/day"
[deadlines]
{LAB} = "2026-12-01T23:59 Europe/Berlin"
ch02_families = "2026-12-08T23:59 Europe/Berlin"
"""
INDEX = """\
# A book of two chapters

Read [one](ch01_one.md), then [the second](ch02_two.md#part). Its share is {number}`tiny.share .1%`.

| Part | Chapter |
|---|---|
| First | [Two](ch02_two.md) |
| | [One](ch01_one.md) |

<!-- full -->
For instructors.
<!-- /full -->
<!-- student
For students.
-->
"""
# In the student version: what the check says of a notebook, what `grade` says, and a preview of the lab's page.
THERE = f"""\
import contextlib, io, sys
from pathlib import Path
from course_lib.errors import CourseError
from course_lib.grader.command import check_notebook, grade_folder
said = io.StringIO()
with contextlib.redirect_stdout(said):
    check_notebook(Path("handed_in.ipynb"))
print(said.getvalue(), end="=====")
try:
    grade_folder(Path("labs"), Path("grades"))
except CourseError as error:
    print(error, end="=====")
from course_lib.site.build import build
build(only="{LAB}")
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A checkout with two chapters, of which one is taught."""
    root = make_project(tmp_path_factory.mktemp("full") / "book")
    for name in ("pyproject.toml", "Makefile", "README.md"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    (root / "_toc.yml").write_text(TOC)
    (root / "book" / "index.md").write_text(INDEX)
    for name in ("ch01_one", "ch02_two"):
        (root / "book" / f"{name}.md").write_text(f"# {name}\n\nA chapter.\n")
    (root / "labs" / "tiny.ipynb").unlink()
    write_lab(root, lab_cells(), "ch02_tiny")
    (root / "labs" / f"{LAB}.ipynb").write_bytes((ROOT / "labs" / f"{LAB}.ipynb").read_bytes())
    record = {"value": 0.7311, "band": None, "control": None}
    made = replication.assemble({"lab": "ch02_tiny", "source": ""}, {seed: {"tiny.share": record} for seed in (0, 1)})
    replication.write(Project(root), made)
    configure("https://github.com/teacher/full", root=root)
    (root / "course.toml").write_text(COURSE)
    return root


def run_labs(project, notebooks):
    """Labs that are solved, but not run."""
    cost = {"cpu_seconds": 1, "peak_mb": 1, "preset": "cpu", "seed": 0, "commit": "none"}
    runs = {lab: solve(notebook) for lab, notebook in notebooks.items()}
    for run in runs.values():
        run.metadata["course"] = cost
    return runs


@pytest.fixture(scope="module")
def released(full):
    """The student version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_labs", run_labs)
        return full.parent / "students", release(full.parent / "students", root=full)


@pytest.fixture(scope="module")
def there(released):
    """What is said and built in the student version, in a process of its own."""
    folder, _ = released
    build.write(folder, {"handed_in": wrong.WRONG["no scale"][0]})
    env = os.environ | {"PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", THERE], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    checked, grading, _ = done.stdout.split("=====")
    return checked, grading, (folder / "_build" / "preview" / "labs" / f"{LAB}.html").read_text()


def squeezed(text):
    """The text without comments and spaces, and with one kind of quotes."""
    return "".join(re.sub(r"\s#.*", "", text).split()).replace("'", '"')


def texts_below(folder):
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".md", ".ipynb", ".toml")]
    return {path: squeezed(path.read_text()) for path in files if "_build" not in path.parts}


def test_no_solution_is_in_it(released, full):
    folder, _ = released
    texts, all_of_them = texts_below(folder), "".join(texts_below(full / "course_lib" / "exercises" / LAB).values())
    stubs = "".join(text for path, text in texts.items() if LAB in path.parts)
    seen, sought = 0, 0
    for exercise in exercises.of_lab(LAB):
        known = [one.solution for one in (*exercise.mistakes, *exercise.alternatives)]
        for solution in (exercise.reference, *known):
            definition = ast.parse(textwrap.dedent(inspect.getsource(solution))).body[0]
            body = squeezed("".join(map(ast.unparse, definition.body)))
            sought, seen = sought + 1, seen + (body in all_of_them)
            assert body not in stubs, (exercise.id, solution.__name__)
            if len(body) > 60:  # less stands in the library by chance
                assert not [path for path, text in texts.items() if body in text], (exercise.id, solution.__name__)
    assert seen > 0.8 * sought, "in the full course it would have been found"
    kept = {path.stem for path in (folder / "course_lib" / "exercises").glob("*/*.py")} - {"__init__"}
    assert kept == set(exercises.lab(LAB).exercises)
    assert not (folder / "course_lib" / "grader" / "equivalent_mutants.toml").exists()


def test_the_run_of_a_lab_has_its_stubs_again(released):
    run = nbformat.read(released[0] / "runs_of_labs" / f"{LAB}.ipynb", as_version=4)
    stubs = [cell.source for cell in run.cells if exercise_id(cell)]
    assert len(stubs) == 6
    assert all(stub.endswith("raise NotImplementedError") for stub in stubs)


def test_pages_speak_of_the_chosen_chapters(released):
    folder, said = released
    index = (folder / "book" / "index.md").read_text()
    assert "then the second. Its share is 73.1%." in index
    assert "| First | [One](ch01_one.md) |" in index
    assert "ch02" not in index
    assert "For students." in index
    assert "For instructors." not in index
    assert not list(folder.rglob("ch02_*"))
    course = 'name = "Ours"\nauthors = ["Ada"]\nlate_penalty = "10%/day"\n\n[deadlines]\n'
    assert (folder / "course.toml").read_text() == f'{course}{LAB} = "2026-12-01T23:59 Europe/Berlin"\n'
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# Ours\n")
    assert "Europe/Berlin. Lateness costs 10% of the points of the lab, for each day begun.\n" in readme
    assert said[0] == f"1 labs: {LAB}"
    assert said[1] == "links to what is left out are words now: book/index (1)"
    assert said[2].startswith("it has no address yet")
    assert "attention: course_lib/nn/attention.py" in said[3]


def test_students_are_sent_to_their_own_repository_never_to_the_full_one(full, released, tmp_path, monkeypatch):
    folder, _ = released
    assert "teacher/full" in (full / "README.md").read_text()
    assert not [path for path, text in texts_below(folder).items() if "teacher/full" in text]
    again = shutil.copytree(folder, tmp_path / "students")
    configure("https://github.com/teacher/students", root=again)
    monkeypatch.setattr(module, "run_labs", lambda project, notebooks: {n: solve(b) for n, b in notebooks.items()})
    assert "its address, as before: https://github.com/teacher/students" in release(again, root=full)
    for name in (f"labs/{LAB}.ipynb", f"runs_of_labs/{LAB}.ipynb"):
        assert "git+https://github.com/teacher/students@main" in (again / name).read_text()
    readme = (again / "README.md").read_text()
    assert f"| `{LAB}` | [Colab]" in readme
    assert "ch02_tiny" not in readme


def test_a_check_says_what_it_says_in_the_full_course(there, tmp_path, capsys):
    build.write(tmp_path, {"handed_in": wrong.WRONG["no scale"][0]})
    check_notebook(tmp_path / "handed_in.ipynb")
    ours, theirs = ([part.split("\n") for part in text.split("\n\n")] for text in (capsys.readouterr().out, there[0]))
    assert theirs[:3] == ours[:3], "two right answers and a known mistake"
    assert "without the scale" in "".join(theirs[2])
    assert theirs[4] == ours[4]
    # What calls a wrong answer is run with the reference in the full course, and as it is in the other.
    assert "It was run with the course's reference in place of `attention`" in "".join(ours[3])
    assert "It was run with your own `attention`, which does not pass yet." in "".join(theirs[3])


def test_there_is_no_grading_there(there):
    assert there[1] == "this is a student version, without hidden cases; grade with the full course"


def test_the_page_of_a_lab_has_one_hint_and_no_solution(there):
    page = there[2]
    assert page.count("<summary>A hint</summary>") == 6
    assert "Another hint" not in page
    assert "A solution" not in page
    assert "Results as run for the full course" in page
    assert "Due 2026-12-01 23:59 Europe/Berlin. Lateness costs 10% of the points of the lab" in page
    assert "Ours" in page


def test_release_again_replaces_its_own_files_alone(released, full):
    folder, _ = released
    (folder / "notes.txt").write_text("ours")
    listed = json.loads((folder / module.MANIFEST).read_text())["files"]
    assert "labs/ch01_attention.ipynb" in listed
    new = full.parent / "new"
    new.mkdir()
    (new / "README.md").write_text("new")
    module._put_in_place(new, folder, listed, "none")
    left = {path.name for path in folder.rglob("*") if path.is_file() and "_build" not in path.parts}
    assert {"README.md", "notes.txt", module.MANIFEST} <= left
    assert "ch01_attention.ipynb" not in left


OWN = """\
import sys
from pathlib import Path
from course_lib.grader.command import check_notebook
from course_lib.site.labs import copy_labs
from course_lib.site.paths import find_project
print(sorted(path.name for path in copy_labs(find_project(), None)))
mine = Path("my_labs/agreement_share.ipynb")
check_notebook(mine)
answer = "return (predictions == targets).float().sum()"
mine.write_text(mine.read_text().replace("raise NotImplementedError", answer))
check_notebook(mine)
"""


def test_a_lab_of_ones_own_is_released_when_wanted(full, tmp_path, monkeypatch):
    root = tmp_path / "full"
    shutil.copytree(full, root, symlinks=True)
    monkeypatch.chdir(root)
    monkeypatch.setattr(module, "run_labs", run_labs)
    assert course("new-exercise", "week_3", "agreement_share") == 0
    out = tmp_path / "students"
    release(out, root=root)
    assert not list(out.rglob("agreement_share*")), "not unless it is named"
    said = release(out, root=root, own_labs=["week_3"])
    assert said[1] == "labs of your own: week_3, in own_labs/"
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("agreement_share*")) == [
        "course_lib/exercises/week_3/agreement_share.cases",
        "course_lib/exercises/week_3/agreement_share.py",
        "own_labs/agreement_share.ipynb",
    ]
    source = (out / "course_lib/exercises/week_3/agreement_share.py").read_text()
    assert "predictions == targets" not in source.split("EXERCISE = ")[0]
    env = os.environ | {"PYTHONPATH": str(out), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", OWN], cwd=out, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "['agreement_share.ipynb', 'ch01_attention.ipynb']" in done.stdout
    assert "agreement_share: not started yet." in done.stdout
    assert "This counts the right predictions. The share is wanted" in done.stdout

    notebook = root / "own_exercises/week_3/agreement_share.ipynb"
    notebook.write_text(notebook.read_text().replace("raise NotImplementedError", "return 1"))
    with pytest.raises(CourseError, match="agreement_share has no `raise NotImplementedError`, so it may hold your"):
        release(out, root=root, own_labs=["week_3"])
    with pytest.raises(CourseError, match="no folder own_exercises/week_4 with exercises; there are week_3"):
        release(out, root=root, own_labs=["week_4"])
    said = release(out, root=root)
    assert said[1].startswith("the release before had own_labs/agreement_share.ipynb, and this one has not: --own-labs")
    assert not list((out / "own_labs").glob("*"))
    assert not list((out / "course_lib" / "exercises" / "week_3").glob("*.py"))


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert course("release", tmp_path) == 2
    assert "holds something that no release wrote" in capsys.readouterr().err


def test_an_unknown_chapter_is_refused():
    toc = Project(ROOT).toc()
    with pytest.raises(CourseError, match="there is no chapter ch99; there are primer, ch01"):
        chosen(toc, ["ch01", "ch99"])
    with pytest.raises(CourseError, match="and single labs such as capstone_vision_text"):
        chosen(toc, ["ch01_softmax"])
    kept = json.dumps(chosen(toc, ["ch01"]))
    assert "labs/ch01_heads" in kept
    assert "book/glossary" in kept
    assert "ch02" not in kept
    assert "primer" not in kept


def test_single_labs_come_with_their_pages_and_the_overview():
    toc = Project(ROOT).toc()
    kept = json.dumps(chosen(toc, ["ch01_attention", "ch04_peft", "primer"]))
    wanted = ("book/ch01_self_attention", "book/ch01_attention", "labs/ch01_attention", "labs/ch04_peft", "labs/primer")
    assert all(f'"{name}"' in kept for name in wanted)
    assert not re.findall(r"ch01_heads|ch01_positions|ch04_sft|ch02|ch10", kept)
    book = module.Book(Project(ROOT), chosen(toc, ["ch01_attention"]))
    page = book.text((ROOT / "book" / "ch01_self_attention.md").read_text(), "book/ch01_self_attention")
    front = page.split("---")[1]
    assert "several-heads" not in front
    assert "no-looking-ahead: ch01_attention" in front
    assert "ch01_heads" not in re.sub(r"\{number\}`[^`]*`", "", page)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("", "0.500"),
        (".1%", "50.0%"),
        ("mean .1%", "60.0%"),
        ("mean z.1f", "0.6"),
        ("interval .0%", "35% to 85%"),
        ("runs > 55%", "2 of 3"),
        ("less tiny.other mean .2f", "0.40"),
    ],
)
def test_a_number_of_what_is_left_out_is_written_as_the_page_asks(spec, text):
    book = object.__new__(module.Book)
    book._numbers = {"tiny.share": [0.5, 0.6, 0.7], "tiny.other": [0.1, 0.2, 0.3]}
    asked = f"{{number}}`tiny.share {spec}`" if spec else "{number}`tiny.share`"
    assert module.NUMBER.sub(book._number, asked) == text


def test_what_can_be_looked_up_is_a_function_of_the_library_and_no_method(tmp_path):
    (tmp_path / "course_lib").mkdir()
    for name, code in {"run": "class Run:\n    def softmax(self): pass", "nn": "def causal_mask(n): pass"}.items():
        (tmp_path / "course_lib" / f"{name}.py").write_text(code)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "grading.py").write_text("def attention(q): pass")
    [said] = module.looked_up(tmp_path, [LAB])
    assert said.startswith("of 6 exercises, 1 can be looked up")
    assert "causal_mask: course_lib/nn.py" in said


def test_every_exercise_can_be_released():
    for lab in exercises.labs():
        cells = nbformat.read(ROOT / "labs" / f"{lab}.ipynb", as_version=4).cells
        stubs = {id: cell.source.partition("\n")[2] for cell in cells if (id := exercise_id(cell))}
        for exercise in exercises.of_lab(lab):
            there = {"__file__": f"/{exercise.id}.py", "__name__": "there"}
            exec(student_source(exercise, stubs[exercise.id], hints=0), there)
            assert there["EXERCISE"].hints == ()
            assert there["EXERCISE"].stored.name == f"{exercise.id}.cases"


def test_stored_answers_are_those_of_the_exam(tmp_path):
    for id in ("influence", "next_token_loss"):
        exercise = exercises.find(id)
        (tmp_path / "x.cases").write_bytes(visible_cases(exercise))
        exam, stored = Exam(exercise), Exam(replace(exercise, stored=tmp_path / "x.cases"))
        for mistake in exercise.mistakes:
            ours, theirs = (one.grade(LocalSubject(mistake.solution)) for one in (exam, stored))
            assert (ours.checks, ours.mistake, ours.diagnosis) == (theirs.checks, theirs.mistake, theirs.diagnosis)
