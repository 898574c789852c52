"""A class of submissions, right, wrong and hostile, graded by the real command in the real sandbox."""

import contextlib
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from shell import course
from submissions import build, good, hostile, wrong

from course_lib import exercises
from course_lib.grader import sandbox

SECRET = "pineapple-4711"
COURSE = [sys.executable, "-c", "from course_lib.cli import main; main()"]
UNTOUCHED = "ch01_attention"  # test_grader_notebooks.py has the others, without a process for each
POINTS = {slug: {e.id: e.points for e in exercises.of_lab(slug)} for slug in exercises.labs()}


def need_bubblewrap():
    try:
        sandbox.choose_level("require")
    except sandbox.SandboxError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs bubblewrap: {error}")


class Graded:
    """What the command left, and what the world outside of the sandbox saw meanwhile."""


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    need_bubblewrap()
    root = tmp_path_factory.mktemp("class")
    submissions, out = root / "submissions", root / "grades"
    listener = socket.create_server(("127.0.0.1", 0))
    seen = Graded()
    seen.connections, seen.least_memory = [], memory_available()
    watching = threading.Event()

    def watch():
        listener.settimeout(0.1)
        while not watching.is_set():
            seen.least_memory = min(seen.least_memory, memory_available())
            with contextlib.suppress(OSError):
                seen.connections.append(listener.accept())

    thread = threading.Thread(target=watch)
    thread.start()
    seen.memory_before = memory_available()
    seen.hostile = hostile.files(SECRET, out, listener.getsockname()[1])
    seen.broken = hostile.broken()
    build.write(submissions, good.GOOD)
    build.write(submissions / "wrong", {name: wrong.WRONG[name][0] for name in wrong.IN_A_SANDBOX})
    # Graded first, in this order: the one that sleeps until its time is up then sleeps beside all others.
    build.write(submissions / "1 hostile", {name: content for name, (content, _) in seen.hostile.items()})
    build.write(submissions / "broken", {name: content for name, (content, _) in seen.broken.items()})
    shutil.copy(f"labs/{UNTOUCHED}.ipynb", submissions / f"untouched {UNTOUCHED}.ipynb")
    (submissions / "broken" / "link.ipynb").symlink_to(submissions / "reference.ipynb")
    os.mkfifo(submissions / "broken" / "pipe.ipynb")
    (submissions / "notes.txt").write_text("not a notebook")
    before = processes_of_workers()
    seen.done = subprocess.run(
        [*COURSE, "grade", str(submissions), "--out", str(out), "--sandbox", "require", "--jobs", "3"],
        env={**os.environ, "COURSE_TEST_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=800,
        cwd=root,
    )
    patience = time.monotonic() + 60  # the workers of tests that run beside this one end by themselves
    while (left_over := processes_of_workers() - before) and time.monotonic() < patience:
        time.sleep(0.5)
    seen.left_over = left_over
    watching.set()
    thread.join()
    listener.close()
    seen.root, seen.submissions, seen.out = root, submissions, out
    seen.grades = json.loads((out / "grades.json").read_text())
    seen.by_name = {entry["name"]: entry for entry in seen.grades["submissions"]}
    return seen


def memory_available():
    with open("/proc/meminfo") as file:
        return int(re.search(r"MemAvailable:\s+(\d+)", file.read())[1]) * 1024


def processes_of_workers():
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"worker.py" in file.read():
                    found.add(pid)
        except OSError:
            pass
    return found


def points(entry):
    return {id: e["points"] for id, e in entry["exercises"].items()}


def report(graded, name):
    return json.loads((graded.out / name / "report.json").read_text())


def test_command_ends_well_and_says_what_it_did(graded):
    assert graded.done.returncode == 0, graded.done.stderr
    text = graded.done.stdout
    assert text.startswith("Sandbox: bubblewrap")
    count = len(good.GOOD) + len(wrong.IN_A_SANDBOX) + len(graded.hostile) + 1
    assert f"Graded {count} of {count + len(graded.broken) + 2} notebooks" in text
    assert "1 other file was left alone" in text
    assert "ungradable: broken/empty: it is empty" in text
    assert "Traceback" not in graded.done.stderr


def test_format_of_grades_json(graded):
    assert set(graded.grades) == {"seed_id", "sandbox", "made", "submissions"}
    assert set(graded.grades["made"]) == {"at", "command", "commit", "course.toml", "deadlines", "python", "torch"}
    assert graded.grades["sandbox"] == "bwrap"
    for entry in graded.grades["submissions"]:
        made = {"hand_in", "course", "commit", "graded_at"}
        assert set(entry) == {"name", "lab", "verdict", "reason", *made, "exercises"}
        assert entry["verdict"] in ("graded", "ungradable")
        for exercise in entry["exercises"].values():
            assert set(exercise) == {"points", "max_points", "mistake", "flags", "notes", "reason"}
            assert 0 <= exercise["points"] <= exercise["max_points"]
    names = [entry["name"] for entry in graded.grades["submissions"]]
    assert len(names) == len(set(names)) == len(list(graded.submissions.rglob("*.ipynb")))


@pytest.mark.parametrize("name", good.GOOD)
def test_right_answers_get_full_points(graded, name):
    entry = graded.by_name[name]
    assert entry["verdict"] == "graded"
    assert points(entry) == POINTS[entry["lab"]], report(graded, name) if name != "grades.csv" else entry
    assert all(e["mistake"] is None for e in entry["exercises"].values())


@pytest.mark.parametrize("name", wrong.IN_A_SANDBOX)
def test_wrong_answers_get_less_and_are_named(graded, name):
    _, id, words = wrong.WRONG[name]
    entry = graded.by_name[f"wrong/{name}"]
    full = POINTS["ch01_attention"]
    got = points(entry)
    assert got.pop(id) < full[id]
    assert got == {other: value for other, value in full.items() if other != id}, "an error counts once"
    if words:
        assert words in entry["exercises"][id]["mistake"]
    else:
        detail = report(graded, f"wrong/{name}")["exercises"][id]
        assert detail["diagnosis"] or detail["summary"]
        assert detail["mistake"] is None


def test_an_untouched_lab_is_not_started_and_has_no_points(graded):
    exercises_of = report(graded, f"untouched {UNTOUCHED}")["exercises"]
    assert {id: (e["points"], e["summary"]) for id, e in exercises_of.items()} == dict.fromkeys(
        POINTS[UNTOUCHED], (0, "Not started yet.")
    )


HOSTILE = hostile.files("", "", 0)
ATTACKS = {attack: (name, id) for name, (_, attacks) in HOSTILE.items() for id, attack in attacks.items()}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_earn_nothing(graded, attack):
    name, id = ATTACKS[attack]
    entry = graded.by_name[f"1 hostile/{name}"]
    assert entry["verdict"] == "graded"
    assert points(entry)[id] == 0, report(graded, f"1 hostile/{name}")["exercises"][id]


@pytest.mark.parametrize("name", HOSTILE)
def test_attacks_leave_the_other_exercises_their_points(graded, name):
    got, full = points(graded.by_name[f"1 hostile/{name}"]), POINTS["ch01_attention"]
    detail = report(graded, f"1 hostile/{name}")["exercises"]
    assert got == {**full, **dict.fromkeys(HOSTILE[name][1], 0)}, detail


def test_searches_ran_to_their_end_and_found_nothing(graded):
    softmax = report(graded, "1 hostile/searches")["exercises"]["softmax"]
    assert "every number is zero" in softmax["diagnosis"]


@pytest.mark.parametrize("name", [*hostile.broken(), "link", "pipe"])
def test_what_is_no_notebook_is_ungradable_with_a_reason(graded, name):
    entry = graded.by_name[f"broken/{name}"]
    assert entry["verdict"] == "ungradable"
    assert entry["exercises"] == {}
    assert (graded.broken[name][1] if name in graded.broken else "not a plain file") in entry["reason"]


def test_nobody_was_reached_from_the_sandbox(graded):
    assert graded.connections == []
    assert graded.left_over == set()
    assert sorted(p.name for p in graded.root.iterdir()) == ["grades", "submissions"]
    for name, (content, _) in graded.hostile.items():
        assert json.loads((graded.submissions / "1 hostile" / f"{name}.ipynb").read_text()) == content


def test_memory_of_the_machine_was_not_exhausted(graded):
    # Workers are stopped at RESIDENT each, and the greedy ones seldom meet: 1.1 times it was seen.
    assert graded.memory_before - graded.least_memory < 2.5 * sandbox.RESIDENT


def test_csv_holds_no_formula_and_one_row_for_each(graded):
    with open(graded.out / "grades.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(graded.by_name)
    for row in rows:
        for value in row.values():
            assert not value.lstrip().startswith(("=", "+", "-", "@")), value
            assert "\n" not in value
    reference = next(row for row in rows if row["name"] == "reference")
    assert float(reference["points"]) == float(reference["max_points"]) == sum(POINTS["ch01_attention"].values())


def test_reports_are_escaped_and_hold_no_hidden_numbers(graded):
    page = (graded.out / "<img src=x onerror=alert(1)>" / "report.html").read_text()
    assert "<img" not in page
    assert "&lt;img" in page
    for path in graded.out.rglob("report.html"):
        text = path.read_text()
        assert '<html lang="en">' in text
        assert "<h1>" in text
        assert "expected" not in text or not re.search(r"expected -?\d", text), path
        assert SECRET not in text
    seed = json.loads((graded.out / "seed.json").read_text())["seed"]
    assert (graded.out / "seed.json").stat().st_mode & 0o077 == 0
    for path in graded.out.rglob("*"):
        if path.is_file() and path.name != "seed.json":
            assert str(seed) not in path.read_text(), path


def test_no_name_can_replace_the_tables(graded):
    assert (graded.out / "grades.csv").is_file()
    assert (graded.out / "grades.csv_" / "report.json").is_file()
    assert (graded.out / "reference" / "report.json_" / "report.json").is_file()


def test_notes_say_what_was_replaced(graded):
    attention = report(graded, "wrong/in place")["exercises"]["attention"]
    assert "`softmax`" in attention["notes"][0]
    assert "reference" in attention["notes"][0]
    assert "last one counts" in report(graded, "loud")["exercises"]["softmax"]["notes"][0]


def test_forbidden_names_are_flagged_and_cost_nothing(graded):
    entry = graded.by_name["wrong/no scale"]["exercises"]
    assert entry["softmax"]["flags"] == []
    flagged = graded.by_name["rewritten"]["exercises"]
    assert flagged["softmax"]["flags"] == ["nn.functional.softmax"]
    assert flagged["attention"]["flags"] == ["nn.functional.scaled_dot_product_attention"]
    assert flagged["attention"]["points"] == 4


def without_times(grades):
    """What grades.json says, but for this run and for when each was graded."""
    times = ("graded_at", "commit")
    entries = [{key: entry[key] for key in entry if key not in times} for entry in grades["submissions"]]
    return {**grades, "made": None, "submissions": entries}


def test_grading_again_only_grades_what_changed(graded):
    changed = graded.submissions / "loud.ipynb"
    changed.write_text(changed.read_text().replace("careful", "careless"))
    before = {p: p.stat().st_mtime_ns for p in graded.out.rglob("report.json") if "broken" not in p.parts}
    assert course("grade", graded.submissions, "--out", graded.out, "--sandbox", "require") == 0
    after = {p: p.stat().st_mtime_ns for p in before}
    assert [p.parent.name for p in before if before[p] != after[p]] == ["loud"]
    grades = json.loads((graded.out / "grades.json").read_text())
    assert grades["made"] != graded.grades["made"]
    loud = next(submission for submission in grades["submissions"] if submission["name"] == "loud")
    assert loud["hand_in"] == 2, "another version meets other hidden cases"
    loud["hand_in"] = 1
    assert without_times(grades) == without_times(graded.grades)
