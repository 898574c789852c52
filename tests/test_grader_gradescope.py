"""The zip for Gradescope, run here as Gradescope runs it: unpacked, and `run_autograder` called for a submission."""

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest
from shell import course
from submissions import build, hostile, wrong

from course_lib import exercises
from course_lib.grader.gradescope.run import _hand_in, nothing, results_of

LAB = "ch01_attention"
POINTS = {exercise.id: exercise.points for exercise in exercises.of_lab(LAB)}


class Gradescope:
    """The folder that is /autograder in Gradescope's container."""

    def __init__(self, root, *options):
        assert course("export", "gradescope", LAB, root / "a.zip", "--seed", 5, *options) == 0
        self.root = root / "autograder"
        (self.root / "submission").mkdir(parents=True)
        with zipfile.ZipFile(root / "a.zip") as archive:
            archive.extractall(self.root / "source")
            self.entries = archive.infolist()
        shutil.copy(self.root / "source" / "run_autograder", self.root)

    def hand_in(self, files):
        shutil.rmtree(self.root / "submission")
        (self.root / "submission").mkdir()
        build.write(self.root / "submission", files)
        return self

    def run(self, **environment):
        """Run the script with the course that is in the zip, and return results.json."""
        places = {"AUTOGRADER_ROOT": self.root, "COURSE_PYTHON": sys.executable}
        places["PYTHONPATH"] = self.root / "source" / "course"
        words = {**os.environ, **{name: str(path) for name, path in places.items()}, **environment}
        script = self.root / "run_autograder"
        script.chmod(0o755)
        done = subprocess.run([script], cwd=self.root, env=words, capture_output=True, text=True, check=True)
        self.said = done.stdout + done.stderr
        return json.loads((self.root / "results" / "results.json").read_text())


@pytest.fixture(scope="module")
def gradescope(tmp_path_factory):
    return Gradescope(tmp_path_factory.mktemp("gradescope"))


def points(results):
    return {test["name"].split(":")[0]: test["score"] for test in results["tests"] if "score" in test}


def checks(results):
    return {test["name"].split(":")[0]: test["status"] for test in results["tests"] if "score" not in test}


def test_a_later_hand_in_is_counted_as_gradescope_does(tmp_path):
    assert _hand_in(tmp_path) == 1
    (tmp_path / "submission_metadata.json").write_text(json.dumps({"previous_submissions": [{}, {}]}))
    assert _hand_in(tmp_path) == 3


def test_what_is_in_the_zip(gradescope):
    names = [entry.filename for entry in gradescope.entries]
    assert {"setup.sh", "run_autograder", "settings.json", "course/pyproject.toml"} < set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("course/tests")]
    modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in gradescope.entries}
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755
    assert modes["settings.json"] == 0o600
    assert modes["course/course_lib/cli.py"] == 0o644
    assert stat.S_IMODE((gradescope.root.parent / "a.zip").stat().st_mode) == 0o600
    for script in ("setup.sh", "run_autograder"):
        subprocess.run(["bash", "-n", gradescope.root / "source" / script], check=True)


def test_a_right_submission_has_all_points_and_shows_them_when_published(gradescope):
    results = gradescope.hand_in({"work/ana": build.notebook(build.solved())}).run()
    assert points(results) == POINTS
    assert set(checks(results).values()) == {"passed"}
    assert {test["visibility"] for test in results["tests"] if "score" in test} == {"after_published"}
    assert {test["visibility"] for test in results["tests"] if "score" not in test} == {"visible"}
    assert results["stdout_visibility"] == "hidden"
    assert "Sandbox: " in gradescope.said
    assert f"Points: {sum(POINTS.values())}" in gradescope.said


def test_a_wrong_answer_earns_in_a_later_hand_in_what_it_earns_in_the_first(gradescope):
    gradescope.hand_in({"ana": wrong.WRONG["no scale"][0]})
    first = points(gradescope.run())
    (gradescope.root / "submission_metadata.json").write_text(json.dumps({"previous_submissions": [{}]}))
    second = points(gradescope.run())
    (gradescope.root / "submission_metadata.json").unlink()
    assert 0 < first["attention"] < POINTS["attention"]
    assert first == second


def test_an_attack_earns_nothing_and_a_wrong_answer_is_named(tmp_path):
    """Without bubblewrap, which Gradescope's container may not allow; results.json says which level it was."""
    gradescope = Gradescope(tmp_path, "--sandbox", "off", "--hidden", "hidden")
    place = str(gradescope.root / "results" / "results.json")
    attack = hostile.attack(f"    open({place!r}, 'w').write('{{}}')\n    return x * 0")
    no_scale = wrong.WRONG["no scale"][0]["cells"]
    other = next(cell["source"] for cell in no_scale if cell["source"].startswith("# EXERCISE: attention"))
    cells = build.solved(softmax=attack("softmax"), attention=other.split("\n", 1)[1])
    results = gradescope.hand_in({"mallory": build.notebook(cells)}).run()
    assert points(results)["softmax"] == 0
    assert 0 <= points(results)["attention"] <= POINTS["attention"] / 2
    assert points(results)["causal_mask"] == POINTS["causal_mask"]
    shown = next(test for test in results["tests"] if test["name"] == "attention: checks of the notebook")
    assert "without the scale" in shown["output"]
    assert results["extra_data"]["sandbox"] == "limits"
    assert "LIMITS ONLY" in gradescope.said


def test_a_grader_that_fails_leaves_a_sentence(gradescope):
    results = gradescope.hand_in({"ana": b"{}"}).run(COURSE_PYTHON="false")
    assert results["score"] == 0
    assert "tell your instructor" in results["output"]


RIGHT = build.notebook(build.solved())
OTHER = build.notebook(["# EXERCISE: multi_head_attention\nMultiHeadAttention = 1"])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "nothing came. Hand in ch01_attention.ipynb"),
        ({"ana": b""}, "ana.ipynb: it is empty"),
        ({"ana": b'{"cells": ['}, "ana.ipynb: it ends in the middle, as after a download that broke off"),
        ({"ana": OTHER}, "it has no exercise of ch01_attention; it looks like ch01_heads"),
        ({"ana": RIGHT, "b/ana": RIGHT}, "There are 2 notebooks of ch01_attention: ana, b/ana."),
        ({f"<b>{n}": b"" for n in range(9)}, "and 4 more"),
    ],
)
def test_what_cannot_be_graded_has_no_points_and_a_sentence(gradescope, files, words):
    results = results_of(gradescope.hand_in(files).root)
    assert words in results["output"]
    assert [(test["score"], test["max_score"]) for test in results["tests"]] == [(0, sum(POINTS.values()))]


def test_another_file_is_named(gradescope):
    (gradescope.hand_in({}).root / "submission" / "report.pdf").write_text("x")
    assert "what came is report.pdf" in results_of(gradescope.root)["output"]
    assert nothing({"points": POINTS}, "x")["tests"][0]["visibility"] == "visible"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ch99",), "no lab called 'ch99'"),
        ((LAB, "--hidden", "never"), "--hidden is after_published"),
        ((LAB, "--sandbox", "on"), "--sandbox is auto, require or off"),
    ],
)
def test_errors_of_an_export_are_sentences(tmp_path, capsys, words, said):
    lab, *options = words
    assert course("export", "gradescope", lab, tmp_path / "a.zip", *options) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
