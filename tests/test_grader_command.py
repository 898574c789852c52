"""`course grade` and `course check`: levels, errors, and what an instructor may do twice."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from submissions import build, wrong

from course_lib import exercises
from course_lib.course_file import Course
from course_lib.errors import CourseError
from course_lib.exercises import of_lab, own
from course_lib.files import write_bytes, write_text
from course_lib.grader import command, grades_folder, processes, report, sandbox
from course_lib.grader.command import check_notebook, grade_folder
from course_lib.grader.exam import Exam, Outcome, Result
from course_lib.grader.hidden import exams_of
from course_lib.grader.inside.outcomes import Failure, Lost, Raised
from course_lib.grader.report import submission_report, write_page
from course_lib.grader.submission import Submission, examine
from course_lib.grader.worker_client import WorkerClient


def works(level):
    try:
        sandbox._Process(level).stop()
    except sandbox.SandboxError:
        return False
    return True


LEVELS = [level for level in sandbox._candidates() if works(level)]


def name_of(level):
    return "-".join([level.name, "user" if level.user else "self", *(["zygote"] if level.zygote else [])])


@pytest.fixture
def submissions(tmp_path):
    build.write(tmp_path / "in", {"ana": build.notebook(build.solved()), "ben": wrong.WRONG["no scale"][0]})
    return tmp_path / "in"


def test_the_same_grades_without_a_sandbox_and_that_is_announced(submissions, tmp_path, capsys):
    assert grade_folder(submissions, tmp_path / "out", seed=5, sandbox="off") == 0
    text = capsys.readouterr().out
    assert text.startswith("Sandbox: LIMITS ONLY")
    grades = json.loads((tmp_path / "out" / "grades.json").read_text())
    assert grades["sandbox"] == "limits"
    ana, ben = grades["submissions"]
    assert all(e["points"] == e["max_points"] for e in ana["exercises"].values())
    assert "without the scale" in ben["exercises"]["attention"]["mistake"]
    kept = json.loads((tmp_path / "out" / "seed.json").read_text())
    assert kept["seed"] is None, "the instructor has this seed already"


def test_require_refuses_where_there_is_no_bubblewrap(submissions, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="bwrap is not installed"):
        grade_folder(submissions, tmp_path / "out", sandbox="require")
    assert not (tmp_path / "out" / "grades.csv").exists()


def test_auto_falls_back_out_loud(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    assert sandbox.choose_level("auto").sentence.startswith("Sandbox: LIMITS ONLY")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"submissions": "nowhere"}, "is not a folder"),
        ({"submissions": "empty"}, "no notebook"),
        ({"lab": "ch99"}, "no lab called 'ch99'"),
        ({"sandbox": "yes"}, "auto, require or off"),
        ({"jobs": 0}, "at least 1"),
        ({"out": "in/ana.ipynb"}, "cannot write"),
    ],
)
def test_errors_are_sentences(submissions, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    arguments = {"submissions": "in", "out": "out", **arguments}
    for key in ("submissions", "out"):
        arguments[key] = tmp_path / arguments[key]
    with pytest.raises(CourseError, match=words):
        grade_folder(**arguments)


def test_a_folder_without_write_permission(submissions, tmp_path, monkeypatch):
    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(grades_folder.tempfile, "TemporaryFile", refused)  # chmod would not stop root
    with pytest.raises(CourseError, match=r"cannot write to .*: Permission denied; choose another folder"):
        grade_folder(submissions, tmp_path / "locked")


def test_a_lab_that_is_asked_for(submissions, tmp_path, capsys):
    (submissions / "ben.ipynb").unlink()
    build.write(submissions, {"heads": build.notebook(build.solved("ch01_heads"))})
    assert grade_folder(submissions, tmp_path / "out", lab="ch01_attention") == 0
    entries = {e["name"]: e for e in json.loads((tmp_path / "out" / "grades.json").read_text())["submissions"]}
    assert entries["heads"]["verdict"] == "ungradable"
    assert "it looks like ch01_heads" in entries["heads"]["reason"]
    assert entries["ana"]["verdict"] == "graded"


def test_a_failure_of_ours_is_told_and_the_others_are_graded(submissions, tmp_path, capsys, monkeypatch):
    real = command.grade

    def grade(notebook, exams, workers):
        if "scale" not in str(notebook.cells) and len(notebook.cells[5]) < 250:
            raise sandbox.SandboxError("out of processes")
        return real(notebook, exams, workers)

    monkeypatch.setattr(command, "grade", grade)
    assert grade_folder(submissions, tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "ben: SandboxError: out of processes" in captured.err
    assert "Run the same command again" in captured.err
    assert [e["name"] for e in json.loads((tmp_path / "out" / "grades.json").read_text())["submissions"]] == ["ana"]


def test_who_ran_out_of_time_beside_others_is_graded_again_alone(submissions, tmp_path, monkeypatch):
    calls, real, graded = [], command.grade, {}

    def busy(notebook, *rest):
        calls.append(notebook.digest)
        if notebook.digest in graded:
            return graded[notebook.digest]
        results = graded[notebook.digest] = real(notebook, *rest)
        return [replace(results[0], ended=Failure(Lost.NO_ANSWER)), *results[1:]]

    monkeypatch.setattr(command, "grade", busy)
    assert grade_folder(submissions, tmp_path / "out", seed=5, jobs=2) == 0
    reports = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("out/*/report.json"))]
    assert len(calls) == 4
    assert len(reports) == 2
    assert not any(entry["ended"] for each in reports for entry in each["exercises"].values())


def test_the_secret_seed_is_kept_and_used_again(submissions, tmp_path):
    out = tmp_path / "out"
    (submissions / "ben.ipynb").unlink()
    grade_folder(submissions, out)
    first = (out / "seed.json").read_text(), json.loads((out / "grades.json").read_text())["submissions"]
    assert stat.S_IMODE((out / "seed.json").stat().st_mode) == 0o600
    (out / "grades.json").unlink()
    grade_folder(submissions, out)
    again = json.loads((out / "grades.json").read_text())["submissions"]
    assert ((out / "seed.json").read_text(), again) == first
    for content, words in (("{", "damaged"), ('{"seed": 3}', "written by an earlier version .* another --out")):
        (out / "seed.json").write_text(content)
        with pytest.raises(CourseError, match=words):
            grade_folder(submissions, out)


def test_grades_of_another_folder_or_seed_are_not_overwritten(submissions, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    (submissions / "ben.ipynb").unlink()
    build.write(other, {"ana": build.notebook(build.solved())})
    grade_folder(submissions, out, seed=5)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(CourseError, match=r"another folder, .*in; choose another --out"):
        grade_folder(other, out, seed=5)
    with pytest.raises(CourseError, match="another seed; choose another --out"):
        grade_folder(submissions, out, seed=6)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_reports_of_removed_submissions_go_and_nothing_else(tmp_path, capsys):
    submissions, out = tmp_path / "in", tmp_path / "out"
    ungradable = build.notebook(["x = 1"])  # which starts no worker
    build.write(submissions, dict.fromkeys(("ana", "ben", "team/eve"), ungradable))
    grade_folder(submissions, out, seed=5)
    (out / "ben" / "remarks.txt").write_text("seen")
    (submissions / "ben.ipynb").unlink()
    (submissions / "team" / "eve.ipynb").unlink()
    capsys.readouterr()
    grade_folder(submissions, out, seed=5)
    assert "Removed 2 earlier reports" in capsys.readouterr().out
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    tables = {"class.html", "grades.csv", "grades.json", "hand_ins.json", "seed.json"}
    assert files == {*tables, "ana/report.json", "ana/report.html", "ben/remarks.txt"}
    assert not (out / "team").exists()


def test_a_report_leads_to_where_the_students_read(tmp_path, monkeypatch):
    def page(site):
        monkeypatch.setattr(own, "course", lambda: Course(site=site))
        write_page(tmp_path, submission_report(Submission("ana", lab="ch01_attention"), [failed]))
        return (tmp_path / "report.html").read_text()

    failed = Result(exercises.find("attention"), Outcome.WRONG, {"all": False}, mistake="It lies *below* `2 * d * n`.")
    assert "It lies <em>below</em> <code>2 * d * n</code>." in page("")
    assert "Where to read: Chapter 1, " in page("")
    link = re.search(
        r'Where to read: <a href="(https://x.org/book/ch01_attention.html#[\w-]+)">', page("https://x.org")
    )
    assert link, "the pages of the students, and never those of the full course"


def test_a_report_sets_code_as_code_and_flags_how_a_process_ended(tmp_path):
    submissions, out = tmp_path / "in", tmp_path / "out"
    exits = "# EXERCISE: softmax\nimport os\ndef softmax(x, dim=-1):\n    os._exit(0)"
    broken = "# EXERCISE: causal_mask\nx = 1\ndef causal_mask(n: '<b>'"
    build.write(submissions, {"ana": build.notebook([exits, broken])})
    grade_folder(submissions, out, seed=5)
    page = (out / "ana" / "report.html").read_text()
    assert "it ended the Python process" in page
    assert "To look at: the code ended" not in page, "it is said once"
    assert "To look at: the code uses os._exit, which the exercise does without. Points are unchanged." in page
    assert "<code># EXERCISE: attention</code>" in page
    assert "`" not in page
    assert page.count("line 3") == 2, "once in the table and once below"
    flags = json.loads((out / "grades.json").read_text())["submissions"][0]["exercises"]["softmax"]["flags"]
    assert flags == ["os._exit", "ended its process"]


def test_another_seed_is_another_exam():
    softmax = of_lab("ch01_attention")[0]
    one, two = (Exam(softmax, seed).cases[0].args[0] for seed in (1, 2))
    assert not one.equal(two)
    assert exams_of("ch01_attention", 1)[0].cases[0].args[0].equal(exams_of("ch01_attention", 1)[0].cases[0].args[0])


def test_writes_are_whole_or_nothing(tmp_path):
    target = tmp_path / "grades.json"
    write_text(target, "old", private=True)
    with pytest.raises(TypeError):
        write_bytes(target, 3, private=True)  # fails when the new file is open
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("  -x", "'  -x"),
        ("@a", "'@a"),
        ("\t=x", "' =x"),
        ("a\nb", "a b"),
        ("ana", "ana"),
        ("Zoë", "Zoë"),
    ],
)
def test_texts_for_a_spreadsheet(text, safe):
    assert report.harmless(text) == safe


def test_report_folders_never_meet(tmp_path):
    taken = set()
    names = ["a", "A", "grades.csv", "grades.csv_", "a/report.json", "seed.json/x", "SEED.json"]
    folders = [grades_folder.report_folder(tmp_path, name, taken) for name in names]
    assert len({str(f).casefold() for f in folders}) == len(names)
    for folder in folders:
        assert not {p.casefold() for p in folder.relative_to(tmp_path).parts} & {
            *grades_folder.FILES,
            "report.json",
            "report.html",
        }


# course check


def test_check_of_a_right_notebook(submissions, capsys):
    assert check_notebook(submissions / "ana.ipynb") == 0
    text = capsys.readouterr().out
    assert "softmax: all 6 visible checks passed; grading uses fresh numbers." in text
    assert "6 of 6 exercises of ch01_attention pass" in text


def test_check_of_a_wrong_notebook_says_what_check_says_in_the_notebook(submissions, capsys):
    assert check_notebook(submissions / "ben.ipynb") == 1
    text = capsys.readouterr().out
    assert "This looks like attention without the scale" in text
    assert "expected" in text
    assert "Hint: " in text


COMPILED = """import torch

@torch.compile
def softmax(x, dim=-1):
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)"""
COMPILED_WITH_OPTIONS = COMPILED.replace("torch.compile", "torch.compile(dynamic=True, backend='inductor')")
COMPILED_LATER = COMPILED.replace("@torch.compile\n", "") + "\nsoftmax = torch.compile(softmax)"
COMPILED_MODULE = COMPILED_LATER.replace("softmax = torch", "torch.nn.Linear(1, 1).compile()\nsoftmax = torch")


@pytest.mark.parametrize("source", [COMPILED, COMPILED_WITH_OPTIONS, COMPILED_LATER, COMPILED_MODULE])
def test_an_answer_that_is_compiled_is_graded_as_it_is(source, tmp_path, capsys):
    """To compile it would take longer than there is, and the sandbox has no compiler."""
    notebook = new_notebook(cells=[new_code_cell(f"# EXERCISE: softmax\n{source}")])
    path = tmp_path / "compiled.ipynb"
    nbformat.write(notebook, path)
    check_notebook(path)
    assert "✓ softmax: all 6 visible checks passed" in capsys.readouterr().out


def test_check_of_an_untouched_lab_gives_no_hint(tmp_path, capsys):
    assert check_notebook(Path("labs/primer.ipynb")) == 1
    text = capsys.readouterr().out
    assert text.count("not started yet") == 6
    assert "int: " not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "JSON error at line 1"),
        (b'{"cells": ["soft', "it ends in the middle"),
        (b"PK\x03\x04\xff", "a zip archive or a Word file"),
        (b"", "empty"),
        (None, "cannot be opened"),
    ],
)
def test_check_of_what_is_no_notebook(tmp_path, content, words):
    if content is not None:
        (tmp_path / "x.ipynb").write_bytes(content)
    with pytest.raises(CourseError, match=words):
        check_notebook(tmp_path / "x.ipynb")


def test_check_of_a_folder_or_a_lab_says_what_to_name(tmp_path):
    for path in (tmp_path, tmp_path / "ch01_attention"):
        with pytest.raises(CourseError, match=r"name one, such as my_labs/ch01_attention\.ipynb"):
            check_notebook(path)


def test_a_misspelled_mark_is_asked_about_and_a_misspelled_name_too(submissions, tmp_path, capsys):
    text = (submissions / "ana.ipynb").read_text()
    assert text.count("# EXERCISE: softmax") == text.count("def causal_mask(") == 1
    text = text.replace("# EXERCISE: softmax", "# EXERCISE: sofmax").replace("def causal_mask(", "def casual_mask(")
    (tmp_path / "x.ipynb").write_text(text)
    assert check_notebook(tmp_path / "x.ipynb") == 1
    said = capsys.readouterr().out
    assert "no cell begins with `# EXERCISE: softmax`; is `# EXERCISE: sofmax` meant?" in said
    assert "does not define `causal_mask`; is the name misspelled?" in said


def test_an_answer_without_its_mark_is_told_to_student_and_teacher(submissions, tmp_path, capsys):
    text = (submissions / "ana.ipynb").read_text()
    (submissions / "ana.ipynb").write_text(text.replace("# EXERCISE: softmax", "#"))
    (submissions / "ben.ipynb").unlink()
    assert grade_folder(submissions, tmp_path / "out", seed=5, sandbox="off") == 0
    said = capsys.readouterr().out
    assert "ana: Not graded: no cell begins with `# EXERCISE: softmax`; code cell " in said
    assert "which defines `softmax`, needs this line at its top." in said
    entry = json.loads((tmp_path / "out" / "grades.json").read_text())["submissions"][0]["exercises"]["softmax"]
    assert entry["reason"] in said
    assert "1: defined, but in a cell without its mark" in (tmp_path / "out" / "class.html").read_text()


def test_a_notebook_without_marks_is_told_which_lab_it_looks_like_and_where_marks_belong(submissions, tmp_path, capsys):
    text = (submissions / "ana.ipynb").read_text()
    (submissions / "ben.ipynb").write_text(re.sub(r"# EXERCISE: \w+", "#", text))
    heads = build.notebook(["def my_split(x): return x", 'check("split_heads", my_split)'])
    build.write(submissions, {"cem": heads, "dan": build.notebook(["x = 1"])})
    assert grade_folder(submissions, tmp_path / "out", seed=5, sandbox="off") == 0
    said = capsys.readouterr().out
    entries = {e["name"]: e for e in json.loads((tmp_path / "out" / "grades.json").read_text())["submissions"]}
    ben, cem, dan = (entries[name] for name in ("ben", "cem", "dan"))
    assert (ben["lab"], ben["verdict"], ben["exercises"]) == ("ch01_attention", "ungradable", {})
    assert "it looks like ch01_attention: put `# EXERCISE: softmax` at the top of code cell 2, " in ben["reason"]
    assert ben["reason"] in said
    assert (cem["lab"], dan["lab"]) == ("ch01_heads", None)
    assert cem["reason"].endswith(
        "looks like ch01_heads: copy the answers into a new copy of this lab, and hand that in"
    )
    assert dan["reason"].endswith(
        "`# EXERCISE: softmax`; copy the answers into a new copy of the lab, and hand that in"
    )
    page = (tmp_path / "out" / "ben" / "report.html").read_text()
    assert "it looks like ch01_attention" in page
    wanted = examine(submissions / "ben.ipynb", submissions, "ch01_heads")
    assert re.match("it has no exercise of ch01_heads: .* it looks like ch01_attention: put", wanted.reason)


# The worker, at every level that works here


@pytest.mark.parametrize("level", LEVELS, ids=name_of)
def test_a_worker_at_each_level(level):
    with sandbox.Workers(level) as workers, contextlib.closing(WorkerClient(workers)) as client:

        def run(source):
            return client.ask("run", 2, source=source, file="<cell>")

        def call(x, seconds=2):
            return client.ask("send", seconds, name="f", action="call", number=0, args=[x], kwargs={})

        run("import torch, os, time\ndef f(x):\n    while x < 0: pass\n    time.sleep(x / 10)\n    return x + 1")
        assert call(1).value == 2
        assert call(9, seconds=0.5).value == 10, "waiting is no computing"
        lost = call(-1, seconds=0.5).failure
        assert (lost.outcome, lost.limit) == (Lost.TIMED_OUT, 0.5)
        run("import time\ndef f(x): time.sleep(99)")
        lost = call(1, seconds=0.1).failure
        assert (lost.outcome, lost.limit) == (Lost.NO_ANSWER, 0.5)
        client.fork()
        missing = call(1).failure
        assert (missing.outcome, missing.message) == (Raised.NOT_DEFINED, "f")
        for module in ("course_lib.exercises", "course_lib.exercises.ch01_attention", "course_lib.grader.exam"):
            refused = str(run(f"import {module}").failure)
            assert re.search(r"No module|None in sys.modules|halted|not a package", refused)
        assert run("import course_lib.nn.attention").failure is None
        assert run("import os, time\n" + "if os.fork() == 0:\n    os.setsid(); time.sleep(60)\n").failure is None
        pid = client.worker.pid
    assert processes.descendants(pid) == []
    assert not os.path.exists(f"/proc/{pid}")


LOOK = """
import os, pathlib
def look(name):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    namespaces = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "mnt", "ipc", "net")}
    shared = []
    for number in range(64):
        try:
            file = os.open(f"/proc/1/fd/{number}", os.O_RDWR)
        except OSError:
            continue
        shared += [os.readlink(f"/proc/1/fd/{number}")]
    found = os.listdir("/tmp"), [pid for pid in os.listdir("/proc") if pid.isdigit()]
    pathlib.Path("/tmp", name).write_text("the answer is 42")
    if os.fork() == 0:
        os.setsid()
        while True: pass
    rights = {key: status[key].strip() for key in status if key[:3] in ("Cap", "NoN")}
    return [*found, os.getuid(), rights, namespaces, shared]
"""


@pytest.mark.parametrize("level", [level for level in LEVELS if level.zygote], ids=name_of)
def test_nothing_of_a_worker_is_left_for_the_next_of_its_zygote(level):
    seen = []
    with sandbox.Workers(level) as workers:
        for name in ("first", "second"):
            with contextlib.closing(WorkerClient(workers)) as client:
                assert client.ask("run", 2, source=LOOK, file="<cell>").failure is None
                answer = client.ask("send", 2, name="look", action="call", number=0, args=[name], kwargs={})
                assert answer.failure is None
                seen.append(answer.value)
                zygote = client.worker.pid
            left = processes.descendants(zygote)
            assert len(left) == 2, "bubblewrap and the zygote"
            own = {os.readlink(f"/proc/{left[-1].pid}/ns/{kind}") for kind in seen[-1][4]}
    assert not os.path.exists(f"/proc/{zygote}")
    for scratch, pids, uid, rights, namespaces, shared in seen:
        assert not own & set(namespaces.values())
        assert not {"first", "second"} & set(scratch)
        assert len(pids) == 2, "the worker and its child"
        assert uid != 0
        assert rights.pop("NoNewPrivs") == "1"
        rights.pop("CapBnd")  # bounds what an executed program may gain, and with no_new_privs none gains any
        assert set(rights.values()) == {"0" * 16}
        assert set(shared) <= {"/dev/null"}


@pytest.mark.parametrize("level", [level for level in LEVELS if level.zygote], ids=name_of)
def test_a_zygote_that_was_killed_is_replaced(level):
    with sandbox.Workers(level) as workers:
        first = workers.start()
        first.stop()
        os.kill(first.pid, signal.SIGKILL)
        second = workers.start()
        assert second.pid != first.pid
        second.fork(10).close()
        second.stop()


def test_bubblewrap_is_there():
    try:
        sandbox.choose_level("require")
    except sandbox.SandboxError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs bubblewrap: {error}")


def test_the_command_line(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from course_lib.cli import main; main()",
        "grade",
        str(tmp_path),
        "--out",
        str(tmp_path / "grades"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("course: there is no notebook")
