"""`course progress`: what a learner has solved, from the copies in my_labs/ of a checkout with two labs."""

import json
import shutil
from pathlib import Path

import pytest
from shell import course
from submissions import build, good

from course_lib import exercises
from course_lib.grader.exam import Outcome, Result
from course_lib.site import progress

ROOT = Path(__file__).resolve().parent.parent
LABS = ("primer", "ch01_attention")
TOC = "root: book/index\nparts:\n- chapters:\n" + "".join(f"  - file: labs/{lab}\n" for lab in LABS)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The folder my_labs of a checkout."""
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "_config.yml").write_text("")
    (tmp_path / "labs").mkdir()
    for lab in LABS:
        shutil.copy(ROOT / "labs" / f"{lab}.ipynb", tmp_path / "labs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my_labs"


@pytest.fixture
def checked(monkeypatch):
    """Checks without sandbox and exams: the labs that were checked. An answer passes if it says so."""
    labs = []

    def grade(notebook, exams, level):
        labs.append(exercises.lab_of(exams[0].id))
        cells = {id: notebook.cells[numbers[-1]] for id, numbers in notebook.marks.items()}
        found = []
        for exercise in exams:
            cell = cells.get(exercise.id, "raise NotImplementedError")
            wrong = Outcome.NOT_STARTED if "NotImplementedError" in cell else Outcome.WRONG
            found.append(Result(exercise, Outcome.PASSED if "# right" in cell else wrong))
        return found

    monkeypatch.setattr(progress, "grade", grade)
    monkeypatch.setattr(progress, "Exam", lambda exercise: exercise)
    monkeypatch.setattr(progress, "choose_level", lambda: "off")
    return labs


def said(capsys):
    assert course("progress") == 0
    return capsys.readouterr().out.splitlines()


def answers(lab, *words):
    """A copy whose first exercises have these words in them."""
    ids = exercises.lab(lab).exercises[: len(words)]
    return build.notebook([f"# EXERCISE: {id}\n{word}" for id, word in zip(ids, words, strict=True)])


def test_at_the_beginning_it_says_what_to_do(mine, checked, capsys):
    assert said(capsys) == [
        "Nothing yet: my_labs/ has no copy of a lab. `course lab primer` makes them and opens the first."
    ]
    assert not mine.exists()
    assert course("lab", "--no-open") == 0
    capsys.readouterr()
    assert said(capsys)[0] == "Nothing yet: in your copies in my_labs/, every exercise is as you got it."
    assert checked == []
    notebook = json.loads((mine / "primer.ipynb").read_text())
    notebook["cells"].append({"cell_type": "code", "source": "1 + 1", "metadata": {}, "outputs": []})
    (mine / "primer.ipynb").write_text(json.dumps(notebook))
    assert "every exercise is as you got it" in said(capsys)[0], "another cell is no answer"


def test_what_is_solved_lab_by_lab_and_what_is_left(mine, checked, capsys):
    ids = exercises.lab("ch01_attention").exercises
    build.write(mine, {"ch01_attention": answers("ch01_attention", "# right", "# wrong", "# right")})
    lines = said(capsys)
    assert lines[0] == f"ch01_attention  2 of 6 solved; open: {', '.join((ids[1], *ids[3:]))}"
    assert lines[1].startswith("2 of 12 exercises solved.")
    assert lines[2] == "Not begun: primer"
    build.write(mine, {"primer": answers("primer", *["# right"] * 6)})
    lines = said(capsys)
    assert lines[0] == "primer          6 of 6 solved"
    assert lines[2].startswith("8 of 12 exercises solved.")
    assert len(lines) == 3


def test_a_copy_is_checked_again_only_after_a_change(mine, checked, capsys):
    build.write(mine, {lab: answers(lab, "# right") for lab in LABS})
    first = said(capsys)
    assert said(capsys) == first
    assert checked == ["primer", "ch01_attention"]
    build.write(mine, {"primer": answers("primer", "# wrong")})
    assert said(capsys)[0].startswith("primer          0 of 6 solved")
    assert checked == ["primer", "ch01_attention", "primer"]
    for text in ("{", "[]", '{"primer": {"file": 1}, "ch01_attention": 3}'):  # damaged
        (mine / progress.KEPT).write_text(text)
        assert said(capsys)[1:2] == first[1:2]
    (mine / progress.KEPT).unlink()
    assert said(capsys)[1:2] == first[1:2]
    assert course("lab", "primer", "--fresh", "--no-open") == 0
    capsys.readouterr()
    assert said(capsys)[-1] == "Not begun: primer"


def test_a_copy_that_cannot_be_read_is_named_and_the_others_count(mine, checked, capsys):
    build.write(mine, {"primer": b"{", "ch01_attention": answers("ch01_attention", "# right")})
    lines = said(capsys)
    assert lines[0].startswith("primer          cannot be checked: it ends in the middle")
    assert lines[1].startswith("ch01_attention  1 of 6 solved")


def test_answers_are_really_checked(mine, capsys):
    build.write(mine, {"primer": good.own_notebook("primer")})
    assert said(capsys)[0] == "primer  6 of 6 solved"
