"""`course grade --roster`: whose a submission is, a row for each student, and what a teacher wrote there."""

import csv
import io
import json
import os
import re
import shutil
import stat
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from shell import course
from submissions import build, wrong

from course_lib import course_file, exercises
from course_lib.errors import CourseError
from course_lib.exercises import own
from course_lib.grader import command, grades_folder, hidden, provenance, students
from course_lib.grader.class_page import write_class_page
from course_lib.grader.deadlines import read_deadlines, shown_late
from course_lib.grader.exam import Outcome, Result
from course_lib.grader.inside.outcomes import Lost
from course_lib.grader.roster import Roster, Student, folded, hand_columns, read_roster

ROSTER = "id,name,group\nana,Ana Silva,A\nben,Ben Okoro,B\neve,Eve Ngata,A\n"
LAB = "ch01_attention"
EXERCISES = exercises.of_lab(LAB)
HAND = hand_columns(LAB)
MOST = [exercise.points for exercise in EXERCISES]


def solves(count, lab=LAB):
    """A notebook of which the grader below says that its first so many exercises pass."""
    return build.notebook([f"# EXERCISE: {id}\n# solves {count}" for id in exercises.lab(lab).exercises])


@pytest.fixture
def grader(monkeypatch):
    """Grading without sandbox and exams: what is tested here is what becomes of the points."""
    graded = []

    def grade(notebook, exams, workers):
        count = int(re.search(r"# solves (\d+)", notebook.cells[0])[1])
        graded.append(notebook.digest)
        outcomes = [Outcome.PASSED if at < count else Outcome.WRONG for at in range(len(exams))]
        return [Result(e.exercise, o, {"all": o is Outcome.PASSED}) for e, o in zip(exams, outcomes, strict=True)]

    monkeypatch.setattr(command, "grade", grade)
    monkeypatch.setattr(
        command, "exams_of", lambda slug, seed: [SimpleNamespace(exercise=e) for e in exercises.of_lab(slug)]
    )
    return graded


class Course:
    """A class on the disk, and the command."""

    def __init__(self, root):
        self.submissions, self.out, self.roster = root / "in", root / "out", root / "roster.csv"
        self.roster.write_text(ROSTER)

    def hand_in(self, name, notebook, time=1_700_000_000):
        build.write(self.submissions, {name: notebook})
        os.utime(self.submissions / f"{name}.ipynb", (time, time))

    def grade(self, *options):
        words = ("--seed", 5, "--sandbox", "off", "--roster", self.roster, *options)
        return course("grade", self.submissions, "--out", self.out, *words)

    def rows(self):
        text = (self.out / "students.csv").read_bytes().decode("utf-8-sig")
        delimiter = ";" if ";" in text.splitlines()[0] else ","
        return {row["id"]: row for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)}

    def edit(self, rows):
        columns = list(next(iter(rows.values())))
        with open(self.out / "students.csv", "w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows.values())

    def entries(self):
        grades = json.loads((self.out / "grades.json").read_text())
        return {entry["name"]: entry for entry in grades["submissions"]}


@pytest.fixture
def school(tmp_path, grader):
    return Course(tmp_path)


# A row for each student


def test_a_row_for_each_student_and_what_is_nobodys_is_listed(school, capsys):
    school.hand_in("ana/attention", solves(2))
    school.hand_in("ana/heads", solves(1, "ch01_heads"))
    school.hand_in("Ben_4711_late", solves(9))
    school.hand_in("mia/attention", solves(9))
    school.hand_in("ana and ben", solves(9))
    assert school.grade() == 0
    rows = school.rows()
    assert list(rows) == ["ana", "ben", "eve"]
    assert list(rows["ana"])[:3] == ["id", "name", "group"]
    assert float(rows["ana"][LAB]) == sum(MOST[:2])
    heads = exercises.of_lab("ch01_heads")[0].points
    assert float(rows["ana"]["total"]) == sum(MOST[:2]) + heads
    assert (float(rows["ben"][LAB]), rows["ben"]["ch01_heads"]) == (sum(MOST), "")
    assert float(rows["ben"]["total"]) == sum(MOST), "a missing lab adds nothing"
    assert (rows["eve"][LAB], rows["eve"]["total"]) == ("", "0")
    assert rows["ana"]["notes"] == rows["ben"]["notes"] == "perhaps theirs: ana and ben"
    said = capsys.readouterr().out
    assert "of no student: mia/attention: no id of the roster is in its path" in said
    assert "of no student: ana and ben: ana or ben?" in said
    assert "without any submission: eve" in said
    text = page(school.out).get_text(" ", strip=True)
    assert "ana and ben: ana or ben? mia/attention: no id of the roster is in its path" in text
    entries = school.entries()
    assert entries["mia/attention"]["student"] is None
    assert entries["ana and ben"]["candidates"] == ["ana", "ben"]
    assert len((school.out / "grades.csv").read_text().splitlines()) == 6, "a row for each file, as ever"
    assert (school.out / "students.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert stat.S_IMODE((school.out / "students.csv").stat().st_mode) == 0o600


def test_files_that_are_no_notebooks_are_told_with_their_students(school, capsys):
    school.hand_in("ana/heads", solves(1, "ch01_heads"))
    for name in ("ana/attention.zip", "ben/attention.zip", "ben/.DS_Store", "eve/ATTENTION.IPYNB", "notes.txt"):
        (school.submissions / name).parent.mkdir(exist_ok=True)
        (school.submissions / name).write_text(json.dumps(solves(3)) if name.endswith("IPYNB") else "PK")
    assert school.grade() == 0
    rows = school.rows()
    assert float(rows["eve"][LAB]) == sum(MOST[:3]), "some tools write the ending so"
    assert (rows["ana"]["notes"], rows["ben"]["notes"]) == (
        "no notebook: ana/attention.zip",
        "no notebook: ben/attention.zip",
    )
    said = capsys.readouterr().out
    assert "without any notebook: ben, but with other files: ben/attention.zip" in said
    assert "4 other files were left alone: notes.txt, ana/attention.zip, ben/attention.zip." in said
    text = page(school.out).get_text(" ", strip=True)
    assert text.endswith("Handed in no notebook, but other files Ben Okoro (ben, group B): ben/attention.zip")
    assert "Handed in nothing" not in text


def test_grades_inside_the_submissions_are_no_submissions(school, capsys):
    school.hand_in("ana", solves(1))
    school.out = school.submissions / "ben" / "grades"
    for _ in range(2):
        assert school.grade() == 0
        assert "ben/grades is a folder of grades, and is left out" in capsys.readouterr().out
    school.hand_in("ben/grades/ben", solves(1))
    school.out = school.submissions.parent / "out"
    assert school.grade() == 0
    said = capsys.readouterr().out
    assert "ben/grades is a folder of grades, and is left out" in said
    assert set(school.entries()) == {"ana"}
    assert school.rows()["ben"]["notes"] == ""
    school.out = school.submissions
    assert school.grade() == 2
    assert "itself; choose a folder of its own" in capsys.readouterr().err


def test_in_group_work_one_notebook_counts_for_the_group(school, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        own, "course", lambda: course_file.Course(group_work=("ch01_heads",), text='group_work = ["ch01_heads"]')
    )
    manual, comment = hand_columns("ch01_heads")
    school.hand_in("ana/h", solves(1, "ch01_heads"))
    school.hand_in("eve/h", solves(2, "ch01_heads"), time=1_700_000_900)
    school.hand_in("ana_eve/late", solves(3, "ch01_heads"), time=1_700_000_950)
    school.hand_in("ana/a", solves(1))
    assert school.grade() == 0
    said = capsys.readouterr().out
    assert "Group work, as course.toml says: ch01_heads; 2 groups, the largest of 2." in said
    assert "of no student" not in said, "in group work a path may have the ids of several members"
    rows, points = school.rows(), sum(exercise.points for exercise in exercises.of_lab("ch01_heads")[:3])
    assert {id: row["ch01_heads"] for id, row in rows.items()} == {"ana": str(points), "ben": "", "eve": str(points)}
    assert (rows["ana"][LAB], rows["eve"][LAB]) == (str(MOST[0]), "")
    hand_ins = {n: json.loads((school.out / n / "report.json").read_text())["hand_in"] for n in ("ana/h", "eve/h")}
    assert hand_ins == {"ana/h": 1, "eve/h": 2}
    rows["eve"] |= {manual: "-1", comment: "did not take part"}
    school.edit(rows)
    assert school.grade() == 0
    page = (school.out / "ana_eve" / "late" / "report.html").read_text()
    assert "<p>Ana Silva (ana, group A); Eve Ngata (eve, group A)</p>" in page
    assert "did not take part" not in page, "the others of the group read it, too"
    assert "Points by hand and comments are each student&#39;s own, and not in this report." in page
    zipped = tmp_path / "r.zip"
    assert course("grade-export", school.out, "--to", "reports", "--out", zipped) == 0
    with zipfile.ZipFile(zipped) as archive:
        assert archive.read("eve ch01_heads.txt").decode() == "ch01_heads: -1 by hand; did not take part\n"
        assert "ana ch01_heads.txt" not in archive.namelist()
    assert "without any submission: ben" in capsys.readouterr().out
    file = tmp_path / "m.csv"
    assert course("grade-export", school.out, "--to", "moodle", "--out", file) == 0
    ana, _, eve = csv.DictReader(file.read_text().splitlines())
    assert (ana["ch01_heads"], eve["ch01_heads"]) == (str(points), str(points - 1))
    assert eve["ch01_heads (feedback)"] == ana["ch01_heads (feedback)"] + "; -1 by hand; did not take part"
    school.roster.write_text(f"{ROSTER}mia,Mia,\n")
    assert school.grade() == 0
    assert "2 groups, the largest of 2; without a group: mia." in capsys.readouterr().out
    monkeypatch.setattr(own, "course", lambda: course_file.Course(group_work=("ch99",), text='\ngroup_work = ["ch99"]'))
    assert school.grade() == 2
    assert "course.toml, line 2: there is no lab called 'ch99'" in capsys.readouterr().err
    monkeypatch.setattr(own, "course", lambda: course_file.Course(group_work=("ch01_heads",), text="group_work = []"))
    before = (school.out / "students.csv").read_text()
    school.roster.write_text(ROSTER.replace("group", "gruop"))
    assert school.grade() == 2
    assert "the roster has no groups; is its column `gruop` meant? Call it `group`" in capsys.readouterr().err
    assert (school.out / "students.csv").read_text() == before


def test_group_work_with_a_roster_without_groups_counts_for_one_student(school, monkeypatch, capsys):
    monkeypatch.setattr(
        own, "course", lambda: course_file.Course(group_work=("ch01_heads",), text='group_work = ["ch01_heads"]')
    )
    school.roster.write_text("id,name\nana,Ana Silva\nben,Ben Okoro\n")
    school.hand_in("ana/h", solves(1, "ch01_heads"))
    assert school.grade() == 0
    said = capsys.readouterr().out
    assert "course.toml, line 1: ch01_heads is group work, and the roster has no groups" in said
    assert "a notebook counts for one student" in said
    assert [bool(row["ch01_heads"]) for row in school.rows().values()] == [True, False]


def test_a_version_without_any_answer_replaces_none(school, monkeypatch):
    def grade(notebook, exams, workers):
        outcome = Outcome.PASSED if "solves" in notebook.cells[0] else Outcome.NOT_STARTED
        return [Result(e.exercise, outcome, {"all": outcome is Outcome.PASSED}) for e in exams]

    monkeypatch.setattr(command, "grade", grade)
    untouched = build.notebook([f"# EXERCISE: {id}\nraise NotImplementedError" for id in exercises.lab(LAB).exercises])
    school.hand_in("ana/first", solves(1), time=1_700_000_000)
    school.hand_in("ana/second", untouched, time=1_700_000_900)
    school.hand_in("ben/only", untouched, time=1_700_000_900)
    assert school.grade() == 0
    entries = {entry["name"]: entry for entry in json.loads((school.out / "grades.json").read_text())["submissions"]}
    assert [entries[name]["counts"] for name in ("ana/first", "ana/second", "ben/only")] == [True, False, True]
    assert f"{LAB}: 2 versions, the latest with an answer counts" in school.rows()["ana"]["notes"]
    assert "Another version counts: the latest with an answer." in (school.out / "ana/second/report.html").read_text()


@pytest.mark.parametrize(("count", "points"), [("latest", 1), ("best", 3)])
def test_of_several_versions_one_counts_and_the_others_stay(school, count, points, capsys):
    school.hand_in("ana/z first", solves(3), time=1_700_000_000)
    school.hand_in("ana/a second", solves(1), time=1_700_000_900)
    school.hand_in("ana/broken", b"{", time=1_700_009_999)
    assert school.grade("--count", count) == 0
    said = capsys.readouterr().out
    better = f"ana, {LAB}: the latest version counts, with {MOST[0]}; an earlier one has {sum(MOST[:3])}\n"
    assert (better in said) == (count == "latest")
    row = school.rows()["ana"]
    assert float(row[LAB]) == sum(MOST[:points])
    assert f"{LAB}: 2 versions, the {count} counts" in row["notes"]
    assert "ungradable: ana/broken" in row["notes"], "and takes nothing from what was handed in before"
    counts = {name: entry["counts"] for name, entry in school.entries().items()}
    assert counts == {"ana/z first": points == 3, "ana/a second": points == 1, "ana/broken": False}


def test_the_same_notebook_handed_in_again_is_as_late_as_the_first(school):
    school.hand_in("ana/one", solves(2), time=1_700_000_000)
    school.hand_in("ana/two", solves(2), time=1_700_000_000 + 86_400)
    options = ("--deadline", "2023-11-14T23:00Z", "--late-penalty", "10%/day")
    assert school.grade(*options) == 0
    assert (school.rows()["ana"][f"{LAB} late"], float(school.rows()["ana"]["total"])) == ("", sum(MOST[:2]))
    school.hand_in("ana/two", solves(3), time=1_700_000_000 + 86_400)
    assert school.grade() == 0
    assert school.rows()["ana"][f"{LAB} late"] != ""


def test_a_roster_that_fits_no_path_grades_nothing(school, capsys):
    school.hand_in("s101 Ada/attention", solves(2))
    assert school.grade() == 2
    said = capsys.readouterr().err
    assert "no path below" in said
    assert "'ana'" in said
    assert "'s101 Ada/attention'" in said
    assert not (school.out / "students.csv").exists()


def test_of_versions_as_late_the_last_by_name_counts(school):
    school.hand_in("ana/attention", solves(3))
    school.hand_in("ana/attention (1)", solves(1))
    school.grade()
    assert float(school.rows()["ana"][LAB]) == MOST[0]


def test_cells_are_harmless_and_semicolons_come_with_decimal_commas(school):
    school.roster.write_text("id;name;group;@mail\nana;=HYPERLINK(1);-A;+1\n")
    school.hand_in("ana", solves(1))
    school.grade()
    edited = (school.out / "students.csv").read_text(encoding="utf-8-sig")
    assert edited.splitlines()[0].startswith("id;name;group;'@mail;")
    row = school.rows()["ana"]
    assert (row["name"], row["group"], row["'@mail"]) == ("'=HYPERLINK(1)", "'-A", "'+1")
    text = re.sub(r";;(\r?\n)$", r";-0,25;=1+1\1", edited)
    manual, comment = HAND
    (school.out / "students.csv").write_text(text, encoding="utf-8", newline="")
    school.grade()
    row = school.rows()["ana"]
    assert (row[manual], row[comment], row["total"]) == ("-0,25", "'=1+1", f"{MOST[0] - 0.25:g}".replace(".", ","))
    assert not list(school.out.glob("students-edited-*"))


def test_real_grades_of_real_submissions(tmp_path, capsys):
    school = Course(tmp_path)
    school.hand_in("Ana_Silva_ana_file", build.notebook(build.solved()))
    school.hand_in("ben/attention", wrong.WRONG["no scale"][0])
    assert school.grade("--jobs", 1) == 0
    assert float(school.rows()["ana"]["total"]) == sum(MOST)
    assert 0 < float(school.rows()["ben"]["total"]) < sum(MOST)
    assert course("grade-export", school.out, "--to", "moodle", "--out", tmp_path / "m.csv") == 0
    ben = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))[1]
    assert "without the scale" in ben[f"{LAB} (feedback)"]


# What a teacher wrote


def test_manual_points_and_comments_stay_with_their_lab(school):
    manual, comment = HAND
    school.hand_in("ana", solves(1))
    school.grade()
    rows = school.rows()
    rows["ana"] |= {manual: "1.5", comment: "well argued,\nand short", "seen": "yes"}
    rows["eve"] |= {manual: "-2", comment: "ill", "seen": ""}
    rows["ben"]["seen"] = ""
    school.edit(rows)
    school.hand_in("ana_heads", solves(1, "ch01_heads"))
    heads = exercises.of_lab("ch01_heads")[0].points
    for _ in range(2):
        assert school.grade() == 0
        rows = school.rows()
        assert (rows["ana"][manual], rows["ana"][comment]) == ("1.5", "well argued,\nand short")
        assert (rows["ana"]["ch01_heads manual"], rows["ana"]["seen"]) == ("", "yes")
        assert float(rows["ana"]["total"]) == MOST[0] + 1.5 + heads
        assert (rows["eve"]["total"], rows["eve"][comment]) == ("-2", "ill")
    assert not list(school.out.glob("students-edited-*")), "nothing of it is lost"
    page = (school.out / "ana" / "report.html").read_text()
    assert "1.5 points were added to this lab by hand." in page
    assert f"So this lab counts {MOST[0] + 1.5:g} points." in page
    assert "by hand" not in (school.out / "ana_heads" / "report.html").read_text()
    (school.submissions / "ana.ipynb").unlink()
    assert school.grade() == 0
    assert school.rows()["ana"][manual] == "1.5", "also while the lab is away"


def test_points_by_hand_are_not_added_to_what_has_earned_them_meanwhile(school, capsys):
    """A student keeps what was given, or gets the points of a new version if they are more; a deduction stays."""
    manual, comment = HAND
    school.hand_in("ana/1", b"{")
    for id in ("ben", "eve"):
        school.hand_in(f"{id}/1", solves(1))
    school.grade()
    rows = school.rows()
    rows["ana"][manual] = rows["ben"][manual] = "2"
    rows["eve"][manual] = "-1"
    school.edit(rows)
    school.grade()
    assert [float(row["total"]) for row in school.rows().values()] == [2, MOST[0] + 2, MOST[0] - 1]
    told = "by hand was given when it had"
    assert told not in capsys.readouterr().out
    for id in ("ana", "ben", "eve"):
        school.hand_in(f"{id}/2", solves(2), time=1_700_000_900)
    new, left = sum(MOST[:2]), MOST[0] + 2 - sum(MOST[:2])
    for _ in range(2):
        school.grade()
        said = capsys.readouterr().out
        assert f"ana, {LAB}: 2 {told} 0 points; now it has {new}, so 0 is added by hand." in said
        assert f"ben, {LAB}: 2 {told} {MOST[0]} points; now it has {new}, so {left} is added by hand." in said
        assert f"  eve, {LAB}: " not in said
        rows = school.rows()
        assert [float(row["total"]) for row in rows.values()] == [new, MOST[0] + 2, new - 1]
        assert rows["ana"][manual] == "2"
        assert told in rows["ana"]["notes"]
    file = school.out.parent / "m.csv"
    assert course("grade-export", school.out, "--to", "moodle", "--out", file) == 0
    ana, ben, eve = csv.DictReader(file.read_text().splitlines())
    assert [float(row[LAB]) for row in (ana, ben, eve)] == [new, MOST[0] + 2, new - 1]
    page = (school.out / "ben" / "2" / "report.html").read_text()
    assert f"{left} point was added to this lab by hand." in page
    assert f"So this lab counts {MOST[0] + 2} points." in page
    school.hand_in("ben/3", solves(0), time=1_700_000_950)
    school.grade()
    assert float(school.rows()["ben"]["total"]) == 2, "of a version with fewer points, all that was given by hand"
    (school.submissions / "ben" / "3.ipynb").unlink()
    school.grade()
    rows, _ = school.rows(), capsys.readouterr()
    rows["ana"][comment] = "the plots earn two points in this version too"
    rows["ben"][manual] = "3"
    school.edit(rows)
    assert school.grade() == 0
    assert told not in capsys.readouterr().out
    assert [float(row["total"]) for row in school.rows().values()] == [new + 2, new + 3, new - 1]


def test_each_hand_in_after_the_first_meets_cases_of_its_own(school, monkeypatch):
    """The first one of everybody meets the same, and so does the second; the same code keeps its cases."""
    seeds = []
    exams_of = command.exams_of
    monkeypatch.setattr(command, "exams_of", lambda slug, seed: seeds.append((slug, seed)) or exams_of(slug, seed))

    def hand_ins():
        return {p.parent.name: json.loads(p.read_text())["hand_in"] for p in sorted(school.out.rglob("report.json"))}

    school.hand_in("ana/a2", solves(2), time=1_700_000_900)
    school.hand_in("ana/a1", solves(1))
    school.hand_in("ana/heads", solves(1, "ch01_heads"), time=1_700_000_800)
    school.hand_in("ben/b1", solves(1), time=1_700_000_700)
    assert school.grade() == 0
    assert hand_ins() == {"a1": 1, "a2": 2, "b1": 1, "heads": 1}
    assert seeds == [(LAB, 5), (LAB, hidden.seed_of(5, 2)), ("ch01_heads", 5)]
    assert "This is hand-in 2 of this lab" in (school.out / "ana" / "a2" / "report.html").read_text()
    (school.submissions / "ana" / "a1.ipynb").unlink()
    school.hand_in("ben/b2", solves(1), time=1_700_000_950)  # the same code as before
    school.hand_in("ben/b3", solves(3), time=1_700_000_600)  # new, though a clock says otherwise
    seeds.clear()
    assert school.grade() == 0
    assert hand_ins() == {"a2": 2, "b1": 1, "b2": 1, "b3": 2, "heads": 1}
    assert seeds == [(LAB, 5), (LAB, hidden.seed_of(5, 2))]
    assert hidden.seed_of(5, 2) not in (5, hidden.seed_of(5, 3), hidden.seed_of(6, 2))
    (school.out / "hand_ins.json").write_text("[")
    assert school.grade() == 2


def test_what_is_handed_in_under_the_same_name_is_another_hand_in(school):
    for count, hand_in in ((1, 1), (2, 2), (1, 1)):
        school.hand_in("file", solves(count))
        assert course("grade", school.submissions, "--out", school.out, "--seed", 5, "--sandbox", "off") == 0
        assert json.loads((school.out / "file" / "report.json").read_text())["hand_in"] == hand_in


def test_the_columns_of_earlier_versions_are_read(school, capsys):
    """There was one column `manual` for all labs, added to the total."""
    school.hand_in("ana/a", solves(1))
    school.hand_in("ben/a", solves(1))
    school.hand_in("ben/b", solves(1, "ch01_heads"))
    school.grade()
    rows = school.rows()
    for row in rows.values():
        for name in [name for name in row if name.endswith((" manual", " comment"))]:
            del row[name]
        row |= {"manual": "1,5", "comment": "good"}
    school.edit(rows)
    written = json.loads((school.out / "students.json").read_text())
    kept = {id: {name: row[name] for name in row if " " not in name} for id, row in written.items()}
    (school.out / "students.json").write_text(json.dumps(kept))
    capsys.readouterr()
    school.grade()
    said = capsys.readouterr().out
    assert f"for ana they are taken as those of {LAB}, the only lab with points" in said
    assert "for ben, eve it is not clear which is meant: they stay, and count in the total alone" in said
    rows = school.rows()
    assert [rows["ana"][name] for name in (*HAND, "manual", "comment")] == ["1.5", "good", "", ""]
    assert [rows["ben"][name] for name in (*HAND, "manual", "comment")] == ["", "", "1.5", "good"]
    heads = exercises.of_lab("ch01_heads")[0].points
    assert [float(rows[id]["total"]) for id in rows] == [MOST[0] + 1.5, MOST[0] + heads + 1.5, 1.5]
    assert "by hand was given" not in said
    assert not list(school.out.glob("students-edited-*"))
    school.grade()
    assert "are taken as those of" not in capsys.readouterr().out, "moved once"
    assert school.rows() == rows


def test_what_was_edited_elsewhere_is_kept_and_told(school, capsys):
    school.hand_in("ana", solves(1))
    school.grade()
    rows = school.rows()
    rows["ana"][LAB] = "99"
    rows["ben"]["name"] = "Benjamin"
    rows["guest"] = {**dict.fromkeys(rows["ana"], ""), "id": "guest", HAND[0]: "3"}
    school.edit(rows)
    edited = (school.out / "students.csv").read_bytes()
    capsys.readouterr()
    assert school.grade() == 0
    said = capsys.readouterr().out
    assert f"ana: {LAB} was 99" in said
    assert "ben: name was Benjamin" in said
    assert "guest is not in the roster" in said
    assert f"students.csv, line 5: 'guest' is not in the roster, so this row is ignored ({HAND[0]}: 3)" in said
    assert (school.out / "students-edited-1.csv").read_bytes() == edited
    assert float(school.rows()["ana"][LAB]) == MOST[0]
    assert school.grade() == 0
    assert "was edited" not in capsys.readouterr().out
    assert not (school.out / "students-edited-2.csv").exists()


def test_a_column_by_hand_of_no_lab_is_told(school, capsys):
    school.hand_in("ana", solves(1))
    school.grade()
    rows = school.rows()
    for id, row in rows.items():
        row |= {"ch01_atention manual": "2" if id == "ana" else "", "project comment": "", "remark": "kept"}
    school.edit(rows)
    assert school.grade() == 0
    said = capsys.readouterr().out
    assert f"the column 'ch01_atention manual' is about no lab and counts nothing; is `{HAND[0]}` meant?" in said
    assert "the column 'project comment' is about no lab and counts nothing; points by hand are in a column" in said
    assert "'remark'" not in said
    assert (school.rows()["ana"]["ch01_atention manual"], school.rows()["ana"]["remark"]) == ("2", "kept")


def test_what_was_graded_is_told_even_if_the_table_has_become_wrong_meanwhile(school, monkeypatch, capsys):
    school.hand_in("ana", solves(1))
    school.hand_in("ben", b"{")
    school.grade()
    capsys.readouterr()
    school.hand_in("eve", solves(1))

    def edited(*arguments):
        rows = school.rows()
        rows["ana"][HAND[0]] = "two"
        school.edit(rows)
        return exams_of(*arguments)

    exams_of = command.exams_of
    monkeypatch.setattr(command, "exams_of", edited)
    assert school.grade() == 2
    said = capsys.readouterr()
    assert "Graded 2 of 3 notebooks" in said.out
    assert "ungradable: ben" in said.out
    assert "is 'two', which is no number" in said.err


def test_grades_say_how_they_came_about(school, capsys):
    school.hand_in("ana", solves(1))
    assert school.grade("--count", "best") == 0
    assert f"Next: look at {school.out / 'class.html'}; write points by hand" in capsys.readouterr().out
    grades = json.loads((school.out / "grades.json").read_text())
    made, [entry] = grades["made"], grades["submissions"]
    assert "--count best" in made["command"]
    assert "--seed '(not written down)' --sandbox" in made["command"]
    assert provenance.command_line(["/x/course", "grade", "--seed=5"]) == "course grade '--seed=(not written down)'"
    assert grades["seed_id"] == grades_folder.seed_id(5)
    assert re.fullmatch(r"[0-9a-f]{10}\+?|none", made["commit"])
    assert entry["commit"] == made["commit"]
    assert (entry["course"], entry["hand_in"]) == (hidden.course_digest(LAB), 1)
    assert datetime.fromisoformat(entry["graded_at"]) <= datetime.now(UTC)
    first = entry["graded_at"], made["at"]
    school.hand_in("ben", solves(1))
    assert school.grade("--deadline", f"{LAB}=2030-01-01T12:00Z") == 0
    grades = json.loads((school.out / "grades.json").read_text())
    assert grades["made"]["deadlines"] == {LAB: "2030-01-01T12:00:00+00:00"}
    assert school.entries()["ana"]["graded_at"] == first[0], "it was not graded again"


def test_a_spreadsheet_that_takes_zeros_from_ids(school, capsys):
    school.roster.write_text("id,name,group\n00123,Ana,A\n00045,Ben,A\n")
    school.hand_in("00123", solves(1))
    school.grade()
    rows = school.rows()
    for row in rows.values():
        row["id"] = row["id"].lstrip("0")
        row[HAND[0]] = "1"
        row["total"] = f"{float(row['total']):.2f}"
    school.edit(rows)
    file = school.out.parent / "m.csv"
    course("grade-export", school.out, "--to", "moodle", "--out", file)
    assert [row["ID number"] for row in csv.DictReader(file.read_text().splitlines())] == ["00123", "00045"]
    school.grade()
    assert {id: row[HAND[0]] for id, row in school.rows().items()} == {"00123": "1", "00045": "1"}
    assert "was edited" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,manual\nana,two\n", r"line 2: manual is 'two', which is no number; correct .* or move it"),
        ("id,manual\nana,nan\n", "which is no number"),
        ("id,manual\nana,1\nAna,2\n", "'Ana' is there twice"),
        (f"id,manual,{HAND[0]}\nana,two,1\nAna,1,x\n", "line 2: manual is 'two'.*; line 3: the id 'Ana' .*'x', which"),
        ("name,manual\nana,1\n", "no column 'id'"),
        (b"id,comment\nana,\xe4\n", "not UTF-8"),
    ],
)
def test_an_unreadable_table_stops_before_anything_is_graded(school, grader, capsys, content, words):
    school.hand_in("ana", solves(1))
    school.out.mkdir()
    content = content if isinstance(content, bytes) else content.encode()
    (school.out / "students.csv").write_bytes(content)
    assert school.grade() == 2
    assert re.search(words, capsys.readouterr().err)
    assert (school.out / "students.csv").read_bytes() == content
    assert not grader


def test_an_interrupted_run_leaves_the_table_as_it_is_and_says_how_to_go_on(school, monkeypatch, capsys):
    school.hand_in("ana", solves(1))
    school.grade()
    before = (school.out / "students.csv").read_bytes()
    school.hand_in("ben", solves(2))

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "grade", interrupted)
        assert school.grade() == 130
    said = capsys.readouterr().err
    assert (
        f"Stopped. 1 report stays in {school.out}; the tables there are as they were. The same command goes on" in said
    )
    assert (school.out / "students.csv").read_bytes() == before
    school.grade()
    assert float(school.rows()["ben"][LAB]) == sum(MOST[:2])


def test_without_a_roster_the_table_stays_and_that_is_said(school, capsys):
    school.hand_in("ana", solves(1))
    school.grade()
    before = (school.out / "students.csv").read_bytes()
    assert course("grade", school.submissions, "--out", school.out, "--seed", 5, "--sandbox", "off") == 0
    assert "is as it was, since there was no --roster" in capsys.readouterr().out
    assert (school.out / "students.csv").read_bytes() == before


def test_a_roster_without_students_who_have_points_by_hand_changes_nothing(school, capsys):
    school.hand_in("ana", solves(1))
    school.hand_in("ben", solves(1))
    school.grade()
    rows = school.rows()
    rows["ben"][HAND[0]] = "-2"
    school.edit(rows)
    assert school.grade() == 0
    before = (school.out / "students.csv").read_bytes()
    assert float(school.rows()["ben"]["total"]) == MOST[0] - 2
    whole = school.roster.read_text()
    school.roster.write_text("id,name,group\nana,Ana Silva,A\n")
    assert school.grade() == 2
    assert "has points or comments of yours for ben, and the roster has no such student" in capsys.readouterr().err
    assert (school.out / "students.csv").read_bytes() == before
    school.roster.write_text(whole)
    assert school.grade() == 0
    assert float(school.rows()["ben"]["total"]) == MOST[0] - 2


@pytest.mark.parametrize("manual", ["-2", "'-2", "\N{MINUS SIGN}2", "-2,0"])
def test_a_deduction_is_exported(school, manual):
    school.hand_in("ana", solves(2))
    school.grade()
    rows = school.rows()
    rows["ana"][HAND[0]] = manual
    school.edit(rows)
    assert school.grade() == 0
    left = f"{sum(MOST[:2]) - 2:g}"
    for platform in ("moodle", "canvas"):
        file = school.out.parent / f"{platform}.csv"
        assert course("grade-export", school.out, "--to", platform, "--out", file) == 0
        rows = csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines())
        assert any(row.get(LAB) == left for row in rows)


def test_the_reports_of_students_are_zipped_where_their_submissions_were(school, tmp_path, capsys):
    school.hand_in("week 1/Ana_1_file_/x", solves(1))
    school.hand_in("ben/broken", b"{")
    school.hand_in("nobody", solves(2))
    (school.submissions / "ben" / "{}.docx").write_bytes(b"PK")
    file = tmp_path / "reports.zip"
    assert course("grade-export", school.out, "--to", "reports", "--out", file) == 2
    assert school.grade() == 0
    assert course("grade-export", school.out, "--to", "reports", "--out", file) == 0
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["ben/broken.html", "week 1/Ana_1_file_/x.html", "ben/{}.docx.txt"]
        assert archive.read("ben/{}.docx.txt") == b"Not graded: {}.docx is no notebook; hand in the .ipynb itself.\n"
        said = archive.read("week 1/Ana_1_file_/x.html").decode()
    assert "Ana Silva (ana, group A)" in said
    rows = school.rows()
    rows["eve"] |= {f"{LAB} manual": "3", f"{LAB} comment": "oral exam"}
    school.edit(rows)
    assert school.grade() == 0
    capsys.readouterr()
    assert course("grade-export", school.out, "--to", "reports", "--out", file) == 0
    assert f"Reports: 3, and 1 with your remarks alone, in {file}" in capsys.readouterr().out
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist()[3:] == [f"eve {LAB}.txt"], "who handed nothing in has no report to say it"
        assert archive.read(f"eve {LAB}.txt").decode() == f"{LAB}: 3 by hand; oral exam\n"


# What decides a grade


def test_a_change_to_a_lab_concerns_it_and_the_labs_that_import_it(tmp_path, monkeypatch):
    here = Path(exercises.__file__).parent.parent
    for room in ("exercises", "grader"):
        shutil.copytree(here / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(hidden, "_PACKAGE", tmp_path)

    def changed_by(file, line="# another comment"):
        before = {lab: hidden.course_digest(lab) for lab in exercises.labs()}
        with open(tmp_path / file, "a", encoding="utf-8") as code:
            code.write(f"\n{line}\n")
        return {lab for lab in before if hidden.course_digest(lab) != before[lab]}

    assert changed_by("exercises/ch01_attention/softmax.py") == {"ch01_attention"}
    line = "from course_lib.exercises.ch01_attention.softmax import softmax"
    assert changed_by("exercises/ch01_heads/split_heads.py", line) == {"ch01_heads"}
    assert changed_by("exercises/ch01_attention/softmax.py") == {"ch01_attention", "ch01_heads"}
    assert changed_by("exercises/spec.py") == changed_by("grader/exam.py") == set(exercises.labs())


# One student again


def test_only_one_student_is_graded_again(school, grader, capsys, monkeypatch):
    school.hand_in("ana/attention", solves(1))
    school.hand_in("ben/attention", solves(2))
    school.hand_in("ben/gone", solves(4), time=1_700_000_900)
    school.grade()
    reports = {path: path.read_bytes() for path in school.out.glob("ben/*/report.*")}
    assert len(reports) == 4
    school.hand_in("ana/attention", solves(3))
    school.hand_in("ben/attention", solves(len(MOST)), time=1_700_009_999)
    (school.submissions / "ben" / "gone.ipynb").unlink()
    grader.clear()
    assert school.grade("--only", "ANA") == 0
    assert len(grader) == 1
    assert school.grade("--only", "ana") == 0
    assert len(grader) == 2, "again, though it has not changed"
    assert "Graded the notebooks of ana again (1)" in capsys.readouterr().out
    rows = school.rows()
    assert float(rows["ana"][LAB]) == sum(MOST[:3])
    assert float(rows["ben"][LAB]) == sum(MOST[:4])
    assert {path: path.read_bytes() for path in reports} == reports
    assert set(school.entries()) == {"ana/attention", "ben/attention", "ben/gone"}
    monkeypatch.setattr(command, "course_digest", lambda lab: "another")
    assert school.grade("--only", "ana") == 0
    assert "2 of the others have grades from another version" in capsys.readouterr().out
    assert school.grade() == 0
    assert float(school.rows()["ben"][LAB]) == sum(MOST), "all is graded again"
    assert set(school.entries()) == {"ana/attention", "ben/attention"}


def test_a_failure_of_the_grader_leaves_the_earlier_result(school, monkeypatch, capsys):
    school.hand_in("ana", solves(1))
    school.grade()

    def fails(*_):
        raise OSError("no processes")

    monkeypatch.setattr(command, "grade", fails)
    assert school.grade("--only", "ana") == 1
    assert "ana: OSError: no processes" in capsys.readouterr().err
    assert float(school.rows()["ana"][LAB]) == MOST[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--only", "zoe"), "no student with the id 'zoe'"),
        (("--only", "eve"), "no submission belongs to eve"),
        (("--count", "first"), "latest or best"),
        (("--id-pattern", "("), "not a regular expression"),
        (("--id-pattern", "a.c"), "0 groups; put one pair of parentheses"),
    ],
)
def test_errors_of_options_are_sentences(school, capsys, options, words):
    school.hand_in("ana", solves(1))
    assert school.grade(*options) == 2
    assert words in capsys.readouterr().err


def test_options_about_students_need_the_roster(school, capsys):
    school.hand_in("ana", solves(1))
    assert course("grade", school.submissions, "--out", school.out, "--only", "ana") == 2
    assert "give --roster too" in capsys.readouterr().err


# The roster


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rosters_as_spreadsheets_save_them(tmp_path, separator, encoding):
    rows = [
        ["Name", "ID", "Group", "e-mail"],
        ["Zoë, “Z”", " 7 ", "A", "z@x.org"],
        ["", "", "", ""],
        ["Ångström", "8", "", ""],
    ]
    with open(tmp_path / "r.csv", "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    roster = read_roster(tmp_path / "r.csv")
    assert list(roster.students) == ["7", "8"]
    assert roster.students["7"] == Student("7", "Zoë, “Z”", "A", {"e-mail": "z@x.org"})
    assert roster.separator == separator


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,group\nAna,A\n", r"no column 'id' in its first line; it has 'name', 'group'; it needs id, name"),
        ("id,group\n1,A\n", "no column 'name'"),
        ("", "no column 'id'"),
        ("id,name,group\n", "no students"),
        ("id,name,group\n1,Ana,A\n,Ben,A\n", "line 3: the id is empty"),
        ("id,name,group\nana,Ana,A\nben,Ben,A\nANA,Eve,A\n", "lines 2 and 4 have the same id, 'ANA'"),
        ("id,name,group\n=1,Ana,A\n", "begins with = "),
        ("id,name,group\n1,Silva, Ana,A\n", "line 2: it has more cells than the first line"),
        ('id,name,group\n1,"Ana,A\n', "line 2: unexpected end"),
        ("id,name,group,total\n1,Ana,A,3\n", "'total' has a name that students.csv gives"),
        ("id,name,group,x,x\n1,Ana,A,3,4\n", "two columns called 'x'"),
        ("id,name,group\n1,Ana,A\n".encode("utf-16"), "not UTF-8 text .* save it as 'CSV UTF-8'"),
        (None, "cannot be read"),
    ],
)
def test_errors_of_a_roster_are_sentences(tmp_path, content, words):
    if content is not None:
        (tmp_path / "r.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CourseError, match=words):
        read_roster(tmp_path / "r.csv")


def test_a_roster_may_have_no_groups(tmp_path):
    (tmp_path / "r.csv").write_text("ID,name\n1,Ana\n")
    assert read_roster(tmp_path / "r.csv").students["1"] == Student("1", "Ana", "")


def class_of(*ids, pattern=None):
    return Roster({id: Student(id, "", "") for id in ids}, [], pattern=pattern and re.compile(pattern))


@pytest.mark.parametrize(
    ("ids", "path", "owners"),
    [
        (["ana"], "ana/ch01", ["ana"]),
        (["ana"], "ANA-ch01", ["ana"]),
        (["ana"], "anatol/ch01", []),
        (["ana"], "diana_ch01", []),
        (["ana"], "anañ/ch01", []),
        (["ana"], "ñana/ch01", []),
        (["maria", "ana-maria"], "ch01/ana-maria", ["ana-maria"]),
        (["ana", "ana-maria"], "ana-maria/ch01", ["ana-maria"]),
        (["ana", "ana-maria"], "ana/by ana-maria", ["ana", "ana-maria"]),
        (["ana", "ben"], "ana/copy of ben", ["ana", "ben"]),
        (["12", "2"], "Silva_12_assignsubmission_file/ch01", ["12"]),
        (["Zoe\u0308"], "zo\u00eb/ch01", ["Zoe\u0308"]),
        (["2023001"], "2023001张三", ["2023001"]),
        (["a.b@c.org"], "a.b@c.org/ch01", ["a.b@c.org"]),
        (["a.b@c.org"], "aXb@c.org/ch01", []),
    ],
)
def test_whose_a_path_is(ids, path, owners):
    assert class_of(*ids).owners(path) == owners


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("all.zip/Ana Silva_4711_assignsubmission_file/attention", ["s1"]),
        ("Silva Ana_4711_assignsubmission_file_/attention", ["s1"]),
        ("Ana Silva_4711_assignsubmission_file_attention", ["s1"]),
        ("Ana Silva_2_assignsubmission_file/s2", ["s2", "s1"]),  # the id says otherwise, so it is not clear
        ("Eve Ngata_4711_assignsubmission_file/attention", []),  # two have this name
        ("Ana Silva/attention", []),  # by no platform: a hint alone
        ("Mona Ana Silva_4711_assignsubmission_file/attention", []),
    ],
)
def test_moodle_names_a_students_folder_by_the_full_name(path, owners):
    names = {"s1": "Ana Silva", "s2": "Ben Okoro", "s3": "Eve Ngata", "s4": "Ngata, Eve"}
    assert Roster({id: Student(id, name, "") for id, name in names.items()}, []).owners(path) == owners


def test_a_path_with_a_name_and_without_an_id_is_told_whose_name_it_is(school, capsys):
    school.roster.write_text("id,name\ns1,Ana Silva\ns2,Ben Okoro\n")
    school.hand_in("s1/attention", solves(1))
    school.hand_in("week 1/Ben-Okoro", solves(1))
    assert school.grade() == 0
    told = "week 1/Ben-Okoro: no id of the roster is in its path, but the name of s2 is; put the id into it"
    assert told in capsys.readouterr().out


def test_a_pattern_says_where_the_id_is():
    roster = class_of("1", "2", pattern=r"uid-(\w+)")
    assert roster.owners("1/uid-2/ch01") == ["2"]
    assert roster.owners("1/ch01") == []
    assert roster.owners("uid-3") == []
    assert roster.owners("uid-1/uid-2") == ["1", "2"]


words = st.text("ab1.-_ é", min_size=1, max_size=5).map(str.strip).filter(bool)


@given(st.lists(words, min_size=1, max_size=5, unique_by=folded), st.data())
def test_an_id_is_found_wherever_it_is_a_word(ids, data):
    """The regular expressions of the definition: each id between characters that are no letters or digits."""
    parts = st.one_of(st.sampled_from(ids), words, st.sampled_from("/ _-aé1"))
    path = "".join(data.draw(st.lists(parts, max_size=6)))
    spans = [
        (match.start(1), match.end(1), id)
        for id in ids
        for match in re.finditer(rf"(?=({re.escape(folded(id))}))", folded(path))
        if not any(
            re.fullmatch(r"[^\W_]{2}", folded(path)[at - 1 : at + 1])
            for at in (match.start(1), match.end(1))
            if 0 < at < len(folded(path))
        )
    ]
    longest = {id for a, b, id in spans if not any(c <= a and b <= d and (c, d) != (a, b) for c, d, _ in spans)}
    assert set(class_of(*ids).owners(path)) == longest


@given(st.lists(st.text("abc123", min_size=1, max_size=6), min_size=1, max_size=6, unique=True), st.data())
def test_the_folder_of_a_student_is_theirs(ids, data):
    id = data.draw(st.sampled_from(ids))
    assert class_of(*ids).owners(f"{id.upper()}/übung") == [id]


@given(st.text())
def test_no_comment_becomes_a_formula_and_a_second_reading_changes_nothing(text):
    cell = students.safe(text)
    assert cell.lstrip()[:1] not in {"=", "+", "-", "@"}
    assert students.safe(cell) == cell


def test_tables_of_students_are_no_names_of_reports(tmp_path):
    folders = [grades_folder.report_folder(tmp_path, name, set()) for name in ("students.csv", "Students.JSON/x")]
    assert [folder.relative_to(tmp_path).parts[0] for folder in folders] == ["students.csv_", "Students.JSON_"]


# Gradebooks


@pytest.fixture
def exported(school):
    """A class with an edited table, and its export as rows."""
    school.roster.write_text(
        "id,name,group,e-mail\nana,Ana Silva,A,ana@x.org\nben,=Ben,B,ben@x.org\neve,Eve Ngata,A,eve@x.org\n"
    )
    school.hand_in("ana/attention", solves(1))
    school.hand_in("ana/heads", solves(9, "ch01_heads"))
    school.hand_in("ben", solves(3))
    school.grade()
    rows = school.rows()
    rows["ana"] |= {HAND[0]: "1,5", HAND[1]: "-well argued"}
    school.edit(rows)

    def run(to, *options):
        file = school.out.parent / f"{to}.csv"
        assert course("grade-export", school.out, "--to", to, "--out", file, *options) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with open(file, newline="", encoding="utf-8") as opened:
            return list(csv.reader(opened))

    return run


def test_canvas_finds_students_columns_and_possible_points(exported, capsys):
    header, possible, *rows = exported("canvas", "--title", f"{LAB}=Attention (123)")
    heads = sum(each.points for each in exercises.of_lab("ch01_heads"))
    assert header == ["Student", "ID", "SIS Login ID", "Section", "Attention (123)", "ch01_heads"]
    assert possible[:4] == ["    Points Possible", "", "", ""]
    assert list(map(float, possible[4:])) == [sum(MOST), heads]
    assert rows[0][:4] == ["Ana Silva", "", "ana", "A"]
    assert list(map(float, rows[0][4:])) == [MOST[0] + 1.5, heads]
    assert rows[1] == ["'=Ben", "", "ben", "B", f"{sum(MOST[:3]):g}", ""]
    assert rows[2] == ["Eve Ngata", "", "eve", "A", "", ""], "no submission is no grade"
    assert {len(row) for row in rows} == {len(header)}
    said = capsys.readouterr().out
    assert "Canvas imports no comments: 1 of them" in said
    assert "Without a --title: ch01_heads. Canvas offers to make a new assignment of each." in said
    assert "3 cells have no grade" in said
    *_, ben, eve = exported("canvas", "--missing", "EX", "--missing", "ch01_heads=0")
    assert (ben[5], eve[4:]) == ("0", ["EX", "0"])
    assert "no grade" not in capsys.readouterr().out


def test_canvas_has_its_own_ids_where_the_roster_has_them(school):
    school.roster.write_text("id,name,group,Canvas ID,SIS User ID,SIS Login ID\nana,Ana Silva,A,77,s1,asilva\n")
    school.hand_in("ana", solves(1))
    school.grade()
    file = school.out.parent / "canvas.csv"
    course("grade-export", school.out, "--to", "canvas", "--out", file)
    header, _, row = csv.reader(file.read_text().splitlines())
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", LAB]
    assert row == ["Ana Silva", "77", "s1", "asilva", "A", f"{MOST[0]:g}"]


def test_moodle_gets_ids_mails_points_and_feedback(exported):
    header, *rows = exported("moodle")
    items = [LAB, "ch01_heads"]
    assert header == ["ID number", "Email address", *(f"{item}{end}" for item in items for end in ("", " (feedback)"))]
    ana, ben, eve = (dict(zip(header, row, strict=True)) for row in rows)
    assert (ana["ID number"], ana["Email address"]) == ("ana", "ana@x.org")
    assert float(ana[LAB]) == MOST[0] + 1.5
    assert ana[f"{LAB} (feedback)"].endswith("; 1.5 by hand; -well argued")
    first, second = exercises.lab(LAB).exercises[:2]
    assert ana[f"{LAB} (feedback)"].startswith(
        f"{first} {MOST[0]}/{MOST[0]}; {second} 0/{MOST[1]} (0 of 1 checks passed.); "
    )
    assert (ben["ch01_heads"], ben["ch01_heads (feedback)"]) == ("-", "")
    assert {eve[item] for item in items} == {"-"}


def test_what_stood_in_is_in_the_feedback(school, monkeypatch):
    def grade(notebook, exams, workers):
        first, second, *others = [Result(each.exercise, Outcome.PASSED, {"all": True}) for each in exams]
        first.outcome, second.notes = Outcome.WRONG, ["It was run with the course's reference in place of `softmax`."]
        return [first, second, *others]

    monkeypatch.setattr(command, "grade", grade)
    school.hand_in("ana", solves(1))
    school.grade()
    file = school.out.parent / "m.csv"
    assert course("grade-export", school.out, "--to", "moodle", "--out", file) == 0
    said = next(csv.DictReader(file.read_text().splitlines()))[f"{LAB} (feedback)"]
    id = EXERCISES[1].id
    assert f"; {id} {MOST[1]}/{MOST[1]} (It was run with the course's reference in place of `softmax`.); " in said


def test_who_has_not_handed_in_a_lab(school, capsys):
    school.roster.write_text("id,name,group,email\nana,Ana,A,a@x\nben,Ben,A,b@x\neve,Eve,A,e@x\n")
    school.hand_in("ana/a", solves(1))
    school.hand_in("ana/h", solves(1, "ch01_heads"))
    school.hand_in("ben/a", solves(1))
    school.hand_in("eve/ch01_heads", b"")
    school.grade()
    said = capsys.readouterr().out
    assert f"without points in {LAB}: eve\n" in said
    assert "without points in ch01_heads: ben, eve\n" in said
    heading = page(school.out).find("h3", string="Without points in ch01_heads")
    assert [item.text for item in heading.find_next("ul").find_all("li")] == [
        "Ben (ben, group A)",
        "Eve (eve, group A)",
    ]
    file = school.out.parent / "missing.csv"
    assert course("grade-export", school.out, "--to", "missing", "--out", file, "--title", "ch01_heads=Heads") == 0
    assert "ch01_heads: no grade for ben, eve\n" in capsys.readouterr().out
    assert list(csv.reader(file.read_text().splitlines())) == [
        ["lab", "id", "name", "group", "email", "why"],
        [LAB, "eve", "Eve", "A", "e@x", "nothing handed in"],
        ["Heads", "ben", "Ben", "A", "b@x", "nothing handed in"],
        ["Heads", "eve", "Eve", "A", "e@x", "not graded: ch01_heads.ipynb: it is empty"],
    ]
    school.hand_in("eve/a", solves(1))
    school.grade()
    assert f"points changed: eve, {LAB}: nothing -> {MOST[0]}\n" in capsys.readouterr().out
    assert (school.out / "changes.txt").read_text().count("\n") == 1
    for id in ("ana", "ben"):
        school.hand_in(f"{id}/p", solves(1, "ch01_positions"))
    school.grade()
    assert "points changed" not in capsys.readouterr().out, "a lab that is new to all is no change"


def test_why_a_file_has_no_grade_is_in_the_feedback(school):
    school.hand_in("ana/x", solves(1))
    school.hand_in("ana/ch01_heads", b"{")
    school.hand_in("ben/homework", b"")
    school.hand_in("ana/h", solves(1, "ch01_heads"))
    (school.submissions / "eve").mkdir()
    (school.submissions / "eve" / "ch01_attention.zip").write_bytes(b"PK")
    school.grade()
    file = school.out.parent / "m.csv"
    assert course("grade-export", school.out, "--to", "moodle", "--out", file, "--missing", "0") == 0
    ana, ben, eve = csv.DictReader(file.read_text().splitlines())
    assert "not graded" not in ana["ch01_heads (feedback)"], "what counts is said alone"
    for lab in (LAB, "ch01_heads"):  # which it is, is not known
        assert (ben[lab], ben[f"{lab} (feedback)"]) == ("0", "not graded: homework.ipynb: it is empty")
    assert eve[f"{LAB} (feedback)"] == "not graded: ch01_attention.zip is no notebook; hand in the .ipynb itself"
    assert eve["ch01_heads (feedback)"] == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "blackboard"), "canvas, moodle, reports or missing, not 'blackboard'"),
        (("--to", "canvas", "--title", "ch99=X"), "no lab called 'ch99'"),
        (("--to", "canvas", "--title", LAB), "LAB=TITLE"),
        (("--to", "moodle", "--missing", "EX"), "--missing is 0, or EX (excused) for canvas"),
        (("--to", "moodle", "--missing", "ch99=0"), "no lab called 'ch99'"),
        (("--to", "reports", "--missing", "0"), "what --to reports writes has no such cells"),
    ],
)
def test_errors_of_an_export_are_sentences(school, capsys, options, words):
    school.hand_in("ana", solves(1))
    school.grade()
    assert course("grade-export", school.out, *options, "--out", school.out.parent / "x.csv") == 2
    assert words in capsys.readouterr().err
    assert not (school.out.parent / "x.csv").exists()


def test_an_export_needs_the_table_and_leaves_it_alone(school, tmp_path, capsys):
    assert course("grade-export", tmp_path, "--to", "moodle", "--out", tmp_path / "x.csv") == 2
    assert "run course grade with --roster first" in capsys.readouterr().err
    school.hand_in("ana", b"{")
    school.grade()
    assert course("grade-export", school.out, "--to", "canvas", "--out", tmp_path / "x.csv") == 2
    assert "no lab has points" in capsys.readouterr().err
    school.hand_in("ana", solves(1))
    school.grade()
    before = (school.out / "students.csv").read_bytes()
    assert course("grade-export", school.out, "--to", "moodle", "--out", school.out / "students.csv") == 2
    assert (school.out / "students.csv").read_bytes() == before
    rows = school.rows()
    rows["ana"][LAB] = "five"
    school.edit(rows)
    assert course("grade-export", school.out, "--to", "moodle", "--out", tmp_path / "x.csv") == 2
    assert f"line 2: {LAB} is 'five', which is no number" in capsys.readouterr().err


# Deadlines, with files from 22:13:20 UTC on 14 November 2023


def test_lateness_stands_beside_the_points_and_costs_what_the_instructor_wants(school):
    school.roster.write_text(
        "id,name,group,extension,submitted\nana,A,,,\nben,B,,2023-11-16,\neve,E,,,2023-11-14T21:00\n"
    )
    for name in ("ana", "ben", "eve"):
        school.hand_in(f"{name}/attention", solves(99), time=1_700_000_000 + 86_400)
    school.hand_in("ana/heads", solves(99, "ch01_heads"))
    options = ("--deadline", "2023-11-14T23:00 Europe/Berlin", "--late-penalty", "10%/day")
    assert school.grade(*options) == 0
    rows = school.rows()
    assert {id: row[LAB] for id, row in rows.items()} == dict.fromkeys(rows, str(sum(MOST))), "the points stay"
    assert rows["ana"][f"{LAB} late"] == "1 day 13 min"
    assert float(rows["ana"][f"{LAB} penalty"]) == pytest.approx(0.2 * sum(MOST))
    heads = sum(exercise.points for exercise in exercises.of_lab("ch01_heads"))
    assert rows["ana"]["ch01_heads late"] == "13 min"
    assert float(rows["ana"]["total"]) == pytest.approx(0.8 * sum(MOST) + 0.9 * heads)
    for id in ("ben", "eve"):  # an extension to the end of a day, in the zone of the deadline; and a time of their own
        assert (rows[id][f"{LAB} late"], rows[id][f"{LAB} penalty"], rows[id]["total"]) == ("", "", str(sum(MOST)))
    entry = school.entries()["ana/attention"]
    assert (entry["late_seconds"], entry["penalty"]) == (86_400 + 13 * 60 - 40, pytest.approx(0.2 * sum(MOST)))
    file = school.out.parent / "m.csv"
    assert course("grade-export", school.out, "--to", "moodle", "--out", file) == 0
    ana = next(csv.DictReader(file.read_text().splitlines()))
    assert float(ana[LAB]) == pytest.approx(0.8 * sum(MOST))
    assert f"late, which costs {0.2 * sum(MOST):g}" in ana[f"{LAB} (feedback)"]
    page = (school.out / "ana" / "attention" / "report.html").read_text()
    points, most = f"{0.2 * sum(MOST):g}", f"{0.8 * sum(MOST):g}"
    assert "<p>A (ana)</p>" in page
    assert f"<p>Handed in 1 day 13 min late: {points} points off, {most} count.</p>" in page
    why = "Due 2023-11-14 23:00 CET, handed in 2023-11-15 23:13. Each day begun costs 10% of the points of the lab."
    assert f"<p>{why}</p>" in page
    assert " late" not in (school.out / "ben" / "attention" / "report.html").read_text()
    rows["ana"] |= {HAND[0]: "-1.5", HAND[1]: "softmax < perfect"}
    school.edit(rows)
    assert school.grade() == 0
    page = (school.out / "ana" / "attention" / "report.html").read_text()
    assert "<p>1.5 points were taken off this lab by hand.</p>" in page
    assert "<p>Comment: softmax &lt; perfect</p>" in page
    rows = school.rows()
    rows["ana"] |= dict.fromkeys(HAND, "")
    school.edit(rows)
    assert school.grade("--deadline", "none") == 0, "without a deadline, lateness is no matter"
    page = (school.out / "ana" / "attention" / "report.html").read_text()
    assert not re.search("late|by hand|Comment", page)
    assert f"{LAB} late" not in school.rows()["ana"]
    assert float(school.rows()["ana"]["total"]) == sum(MOST) + heads
    assert not list(school.out.glob("students-edited-*"))


def test_what_decides_marks_is_kept_for_the_next_run_and_changed_points_are_told(school, capsys):
    school.hand_in("uid-ana/x", solves(99))
    school.hand_in("uid-ana/y", solves(1), time=1_700_000_100)
    options = ("--count", "best", "--id-pattern", "uid-([a-z]+)", "--late-penalty", "10%/day")
    assert school.grade("--deadline", f"{LAB}=2023-11-14T22:00Z", *options) == 0
    total = school.rows()["ana"]["total"]
    assert float(total) == pytest.approx(0.9 * sum(MOST))
    capsys.readouterr()
    for more in ((), ("--only", "ana"), ("--deadline", "ch01_heads=2030-01-01 UTC")):
        assert school.grade(*more) == 0
        assert school.rows()["ana"]["total"] == total
        said = capsys.readouterr().out
        assert "As in the last run: " in said
        assert "--late-penalty 10%/day --count best --id-pattern" in said
        assert "points changed" not in said
    assert school.grade("--deadline", "none") == 0
    change = f"ana, {LAB}: {total} -> {sum(MOST)}"
    assert f"points changed: {change}\n" in capsys.readouterr().out
    assert (school.out / "changes.txt").read_text().rstrip().endswith(change)
    assert school.grade("--count", "latest") == 0
    assert float(school.rows()["ana"]["total"]) == MOST[0]
    school.grade()
    assert "--count latest" in capsys.readouterr().out
    (school.out / "options.json").write_text("[")
    assert school.grade() == 2
    assert "options.json is damaged" in capsys.readouterr().err


def test_a_class_that_is_late_by_the_times_of_its_files_is_pointed_out(school, capsys):
    for name, time in (("ana", 1_700_000_000), ("ben", 1_700_000_000), ("eve", 1_600_000_000)):
        school.hand_in(name, solves(1), time)
    assert school.grade("--deadline", "2023-11-14T22:00Z") == 0
    assert f"2 of 3 submissions of {LAB} are late by the times of their files" in capsys.readouterr().out
    school.roster.write_text("id,name,submitted\nana,Ana,2023-11-14T21:00\nben,Ben,\neve,Eve,\n")
    assert school.grade() == 0
    assert "by the times of their files" not in capsys.readouterr().out


def test_notebooks_in_a_zip_file_have_its_time_and_that_is_said(school, capsys):
    school.hand_in("x", solves(1))
    packed = school.submissions / "week 1.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for id in ("ana", "ben"):
            archive.writestr(f"{id}/x.ipynb", (school.submissions / "x.ipynb").read_bytes())
    os.utime(packed, (1_700_000_000,) * 2)
    assert school.grade("--deadline", "2023-11-14T22:00Z") == 0
    assert "2 of them are in a zip file and have its time: unpack it for their own." in capsys.readouterr().out
    school.hand_in("ben/y", solves(1))
    school.hand_in("ana/y", solves(1))
    packed.unlink()
    assert school.grade() == 0
    said = capsys.readouterr().out
    assert "2 of 2 submissions" in said
    assert "zip file" not in said


@pytest.mark.parametrize("column", ["extention", "Extensions ch01_attention", "submited"])
def test_a_misspelt_column_of_times_is_refused(school, column, capsys):
    school.hand_in("ana", solves(1))
    school.roster.write_text(f"id,name,{column}\nana,Ana,\n")
    assert school.grade("--deadline", "2023-11-14T22:00Z") == 2
    assert f"the roster's column {column!r} looks like" in capsys.readouterr().err


def test_without_a_penalty_lateness_is_shown_alone(school):
    school.hand_in("ana", solves(1))
    school.grade("--deadline", f"{LAB}=2023-11-14T21:00Z", "--deadline", "ch01_heads=2030-01-01 UTC")
    row = school.rows()["ana"]
    assert (row[f"{LAB} late"], float(row["total"])) == ("1 h 13 min", MOST[0])
    assert f"{LAB} penalty" not in row


DEADLINES = f"""\
late_penalty = "10%/day"
[points]
{EXERCISES[0].id} = 9
[deadlines]
{LAB} = "2023-11-14T21:00Z"
"""


def test_course_toml_says_what_the_command_line_does_not(school, tmp_path, monkeypatch, capsys):
    for name in ("_toc.yml", "_config.yml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").write_text(DEADLINES)
    school.hand_in("ana", solves(1))
    school.hand_in("ana/heads", solves(1, "ch01_heads"))
    assert school.grade() == 0
    row, most = school.rows()["ana"], sum(MOST) - MOST[0] + 9
    assert (row[LAB], row[f"{LAB} late"], float(row[f"{LAB} penalty"])) == ("9", "1 h 13 min", round(most / 10, 2))
    assert "ch01_heads late" not in row
    said = capsys.readouterr().out
    assert "of course.toml.\nLateness costs 10% of the points of the lab, for each day begun.\n" in said
    assert "9 of 9" in " ".join((school.out / "ana" / "report.html").read_text().split())
    assert f"of {most} points" in page(school.out).get_text(" ", strip=True)
    assert course("grade-export", school.out, "--to", "canvas", "--out", tmp_path / "c.csv") == 0
    assert next(csv.DictReader((tmp_path / "c.csv").open()))[LAB] == str(most)
    assert school.grade("--late-penalty", "50%") == 0
    assert "Lateness costs 50% of the points of the lab, once." in capsys.readouterr().out
    assert float(school.rows()["ana"][f"{LAB} penalty"]) == 9 < most / 2, "never more than was earned"
    assert school.grade("--deadline", f"{LAB}=2030-01-01 UTC", "--deadline", "ch01_heads=2023-11-14T22:00Z") == 0
    row = school.rows()["ana"]
    assert (row[f"{LAB} late"], row["ch01_heads late"]) == ("", "13 min")
    assert school.grade("--deadline", "2030-01-01 UTC") == 0
    assert school.rows()["ana"][f"{LAB} late"] == ""

    (tmp_path / "course.toml").write_text(DEADLINES.replace("9", "8", 1))
    assert school.grade() == 0
    assert school.rows()["ana"][LAB] == "8", "other points: all is graded again"


def test_deadlines_and_groups_that_are_gone_are_told(school, tmp_path, monkeypatch, capsys):
    for name in ("_toc.yml", "_config.yml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").write_text('group_work = ["ch01_heads"]\n' + DEADLINES)
    school.roster.write_text("id,name,group,submitted\nana,A,1,2023-11-13\nben,B,1,\n")
    school.hand_in("ana/a", solves(1))

    def said(*options):
        assert school.grade(*options) == 0
        return capsys.readouterr().out.replace("\n", " ")

    assert "last run" not in said()
    (tmp_path / "course.toml").write_text(DEADLINES.replace('late_penalty = "10%/day"', ""))
    text = said()
    assert (
        "In the last run lateness cost points, and now it does not. If that is not meant, look at course.toml." in text
    )
    assert "In the last run ch01_heads was group work, and now it is not: a notebook counts for one student." in text
    (tmp_path / "course.toml").unlink()
    text = said()
    assert f"The last run had deadlines for {LAB}, and this one has none: nobody is late there now." in text
    assert "If that is not meant, there is no course.toml here." in text
    assert "The roster has the column `submitted`, and no lab has a deadline: nobody is late." in text
    assert "The roster has groups, and course.toml names no lab as `group_work`: a notebook counts for one" in text
    school.roster.write_text("id,name,group\nana,A,\nben,B,\n")
    assert "The roster of the last run had the columns `group`, `submitted` filled, and this one has not." in said()
    assert "The roster" not in said(), "it is said once"
    assert "nobody is late there" not in said("--deadline", "2030-01-01 UTC")
    assert "nobody is late there" not in said("--deadline", "none"), "that is meant"
    (tmp_path / "course.toml").write_text('group_work = ["ch01_heads"]\n' + DEADLINES)
    assert course("grade", school.submissions, "--out", tmp_path / "other", "--sandbox", "off") == 0
    assert (
        "course.toml has deadlines and group work; that needs --roster, and is left aside." in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("10%/day", "a lot"), "course.toml, line 1: `late_penalty` is 10%/day, 1%/hour or 20% (once), not 'a lot'"),
        (("T21:00Z", " noon"), "course.toml, line 5: there is no time zone 'noon'"),
        (("T21:00Z", "T21:00"), "course.toml, line 5: '2023-11-14T21:00' has no time zone"),
        ((LAB, "ch01"), "course.toml, line 5: there is no lab called 'ch01'; there are:"),
    ],
)
def test_what_course_toml_says_wrong_is_a_sentence_with_its_line(
    school, tmp_path, monkeypatch, capsys, change, sentence
):
    for name in ("_toc.yml", "_config.yml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").write_text(DEADLINES.replace(*change))
    school.hand_in("ana", solves(1))
    assert school.grade() == 2
    assert sentence in capsys.readouterr().err
    assert not school.out.exists()


@pytest.mark.parametrize(("count", "total"), [("latest", 0.5 * sum(MOST)), ("best", sum(MOST[:4]))])
def test_the_best_version_is_the_best_after_the_penalty(school, count, total):
    school.hand_in("ana/1", solves(4))
    school.hand_in("ana/2", solves(99), time=1_700_003_600)
    school.grade("--count", count, "--deadline", "2023-11-14T22:30Z", "--late-penalty", "50%")
    assert float(school.rows()["ana"]["total"]) == total


@pytest.mark.parametrize(
    ("seconds", "penalty", "points", "words"),
    [
        (59, 0, 8, ""),
        (61, 1, 8, "1 min"),
        (60 + 86_399, 1, 8, "1 day"),
        (60 + 86_401, 2, 8, "1 day 1 min"),
        (60 + 30 * 86_400, 8, 8, "30 days"),
        (86_400, 0.5, 0.5, "23 h 59 min"),
    ],
)
def test_the_minute_of_a_deadline_is_in_time_and_a_penalty_takes_no_more_than_was_earned(
    seconds, penalty, points, words
):
    due = read_deadlines(["2026-12-01T23:59+00:00"], "10%/day", class_of("ana"))
    handed_in = datetime(2026, 12, 1, 23, 59, tzinfo=UTC) + timedelta(seconds=seconds)
    late = due.late("ana", LAB, handed_in.isoformat(timespec="microseconds"))
    assert shown_late(late) == words
    assert due.penalty(late, points, 10) == penalty


def test_an_hour_that_summer_time_takes_is_no_lateness():
    due = read_deadlines(["2026-10-25T12:00 Europe/Berlin"], None, class_of("ana"))
    assert not due.late("ana", LAB, "2026-10-25T11:00:59+00:00")
    assert due.late("ana", LAB, "2026-10-25T11:01:00.000001+00:00")
    assert not due.late("ana", LAB, ""), "a time that is not known"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--deadline", "2026-12-01T23:59"), "has no time zone; write it as 2026-12-01T23:59+01:00"),
        (("--deadline", "next week"), "'next week' is no time"),
        (("--deadline", "2026-12-01 Mars/Olympus"), "there is no time zone 'Mars/Olympus'; take a name such as"),
        (("--deadline", "2026-12-01 Berlin"), "there is no time zone 'Berlin'; did you mean Europe/Berlin?"),
        (("--deadline", "ch99=2026-12-01Z"), "no lab called 'ch99'"),
        (("--deadline", "2026-12-01 UTC", "--deadline", "2026-12-02 UTC"), "twice for all labs"),
        (("--deadline", "2026-12-01 UTC", "--late-penalty", "10 points"), "--late-penalty is 10%/day"),
        (("--late-penalty", "10%"), "--late-penalty needs a --deadline"),
    ],
)
def test_errors_of_deadlines_are_sentences(school, grader, capsys, options, words):
    school.hand_in("ana", solves(1))
    assert school.grade(*options) == 2
    assert words in capsys.readouterr().err
    assert not grader


def test_errors_of_deadlines_in_a_roster_are_sentences():
    for text, words in (("extension ch99", "about no lab"), ("extension", "ana: extension: 'soon' is no time")):
        roster = Roster({"ana": Student("ana", "", "", {text: "soon"})}, [text])
        with pytest.raises(CourseError, match=words):
            read_deadlines(["2026-12-01 UTC"], None, roster)


# The page of the class


def page(out):
    return BeautifulSoup((out / "class.html").read_text(), "html.parser")


def test_who_is_stuck_who_is_missing_and_how_it_went(school):
    school.hand_in("ana/attention", solves(99))
    school.hand_in("ben/<b> & #1", solves(1))
    school.hand_in("ben/broken", b"{")
    school.hand_in("ben/heads", solves(99, "ch01_heads"))
    assert school.grade() == 0
    assert stat.S_IMODE((school.out / "class.html").stat().st_mode) == 0o600
    text = page(school.out).get_text(" ", strip=True)
    mean = (sum(MOST) + MOST[0]) / (2 * sum(MOST))
    assert f"2 submissions, on average {100 * mean:.0f}% of {sum(MOST)} points" in text
    assert "1 submission, on average 100%" in text
    assert re.search(r"Handed in nothing Eve Ngata \(eve, group A\)$", text)
    assert "ben/broken : " in text.replace("ben/broken:", "ben/broken :")
    stuck = page(school.out).find("h3", string=f"Who is stuck in {LAB}").find_next("ul")
    assert stuck.get_text(" ", strip=True).startswith("Ben Okoro (ben, group B): ben/<b> & #1")
    link = unquote(stuck.find("a")["href"])
    assert (school.out / link).is_file()
    assert "Nobody" in page(school.out).find("h3", string="Who is stuck in ch01_heads").find_next("p").text
    bars = [bar["aria-label"] for bar in page(school.out).find_all(class_="bar")]
    assert bars[0] == "all points 2, some 0, tried without points 0, not tried 0"
    assert bars[1] == "all points 1, some 0, tried without points 1, not tried 0"


def test_without_a_roster_every_file_counts(tmp_path, school):
    school.hand_in("ana/one", solves(99))
    school.hand_in("ana/two", solves(0))
    assert course("grade", school.submissions, "--out", school.out, "--seed", 5, "--sandbox", "off") == 0
    text = page(school.out).get_text(" ", strip=True)
    assert "2 submissions, on average 50%" in text
    assert "Handed in nothing" not in text


def report_with(name, entries):
    """A report in which some exercises have other entries than a pass."""
    done = {}
    for exercise in EXERCISES:
        entry = {
            "title": exercise.title,
            "points": exercise.points,
            "max_points": exercise.points,
            "outcome": Outcome.PASSED,
            "ended": None,
            "mistake": None,
            "diagnosis": None,
            "summary": "2 of 5 checks passed.",
            "avoided": [],
        }
        done[exercise.id] = entry | entries.get(exercise.id, {})
    points = sum(entry["points"] for entry in done.values())
    return {"name": name, "lab": LAB, "verdict": "graded", "points": points, "max_points": sum(MOST), "exercises": done}


def test_common_mistakes_are_counted_and_nothing_of_a_student_is_markup(tmp_path):
    id = EXERCISES[0].id
    wrong = {"points": 0.0, "outcome": Outcome.WRONG}
    reports = [
        *(report_with(f"a{i}", {id: wrong | {"mistake": "It looks like `softmax` over <queries>."}}) for i in range(3)),
        report_with("b", {id: wrong | {"mistake": "Another."}}),
        report_with("c", {id: wrong | {"ended": Lost.TIMED_OUT}}),
        report_with("c2", {id: wrong | {"ended": Lost.NO_ANSWER, "diagnosis": "It gave none.", "ended_told": True}}),
        report_with("d", {id: {"points": 0.0, "outcome": Outcome.NOT_STARTED}}),
        report_with("e", {id: {"avoided": ["torch.softmax"]}}),
        report_with("<script>", {id: {"points": 0.5, "outcome": Outcome.WRONG, "diagnosis": "A <b>1</b>."}}),
    ]
    write_class_page(tmp_path, reports, {each["name"]: tmp_path / "r" for each in reports})
    found = page(tmp_path)
    assert not found.find("script")
    said = [item.get_text(strip=True) for item in found.find("td").find_next("ul").find_all("li")]
    assert said == [
        "3: It looks likesoftmaxover <queries>.",
        "1: Another.",
        "2: wrong in a way that has no name here1: 2 of 5 checks passed.1: A <b>1</b>.",
        "1: 2 of 5 checks passed.",
        "1: A <b>1</b>.",
        "1: the code took too long",
        "1: the code sent no answer",
        "1: usedtorch.softmax, which the exercise does without (points unchanged)",
    ]
    assert found.find(class_="bar")["aria-label"] == "all points 1, some 1, tried without points 6, not tried 1"


@pytest.mark.parametrize(("points", "column"), [(0, 0), (sum(MOST), 9), (sum(MOST) / 2, 5)])
def test_a_share_of_points_has_its_column(tmp_path, points, column):
    write_class_page(tmp_path, [report_with("a", {}) | {"points": points}], {"a": tmp_path / "a"})
    label = page(tmp_path).find(class_="bins")["aria-label"]
    assert label.split(", ")[column] == f"{10 * column} to {10 * column + 10}%: 1"
    shown = [each.get_text(strip=True) for each in page(tmp_path).find(class_="bins").find_all("div")]
    assert shown[column] == f"1{10 * column}\N{EN DASH}{10 * column + 10}"
