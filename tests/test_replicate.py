"""`course replicate`: real runs of a small lab on three seeds, stopped and resumed; what `--check` complains about."""

import copy
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
import torch
from site_project import ROOT, make_project, write_lab
from typer.testing import CliRunner

from course_lib.cli import app
from course_lib.errors import DataError
from course_lib.site import cache, replication
from course_lib.site.build import read_lab, run_labs, solved_labs
from course_lib.site.paths import Project, SiteError
from course_lib.site.replicate import check, renew, replicate

IMPORTS = "import torch\nfrom course_lib.measure import record, seed\n\nSEED = seed()"
RECORDS = """\
noise = torch.rand((), generator=torch.Generator().manual_seed(SEED)).item()
record("tiny.share", 0.7 + 0.1 * noise, (0.7, 0.7001), control=("tiny.even", 0.1 * noise, (0, 0.2)))
if SEED < 20:
    record("tiny.sometimes", float("nan") if SEED else 1)"""
CRASH = "if value == 1:\n    raise ValueError('not on this seed')"
# Without torch, which takes most of the time of a small lab.
QUICK = """\
import os, time
from IPython.display import display
value = float(os.environ["COURSE_SEED"])
data = {"course_record": {"key": "tiny.seed", "value": value, "band": None, "preset": "cpu", "device": "cpu",
        "control": None}}
display({"text/plain": "tiny.seed"}, raw=True, metadata=data)"""


def cells(*sources):
    kinds = [nbformat.v4.new_markdown_cell("# A tiny lab", id="title")]
    return [*kinds, *(nbformat.v4.new_code_cell(source, id=f"code-{i}") for i, source in enumerate(sources))]


@pytest.fixture
def project(tmp_path):
    return Project(make_project(tmp_path / "book"))


def kept(project):
    return {path: path.stat().st_mtime_ns for path in (project.build / "replications").rglob("seed*.json")}


def test_a_lab_runs_on_three_seeds_and_a_crash_on_one_stops_neither_the_others_nor_the_way_on(project, capsys):
    place = replication.path(project, "tiny")
    write_lab(project.root, cells(QUICK, CRASH))
    with pytest.raises(SiteError) as problem:
        replicate(["tiny"], seeds=3, root=project.root)
    said = str(problem.value)
    assert said.endswith("labs/tiny.ipynb, seed 1: cell code-1 raised ValueError: not on this seed")
    assert "raise ValueError('not on this seed')" in said  # the traceback
    assert sorted(path.name for path in kept(project)) == ["seed0.json", "seed2.json"]
    assert not place.exists()

    write_lab(project.root, cells(IMPORTS, RECORDS))
    replicate(seeds=3, root=project.root)
    assert "0 of 3 runs are kept from before, 3 to go" in capsys.readouterr().out
    found = json.loads(place.read_text())
    assert found["seeds"] == [0, 1, 2]
    share, even, sometimes = (found["numbers"][key] for key in ("tiny.share", "tiny.even", "tiny.sometimes"))
    noise = [torch.rand((), generator=torch.Generator().manual_seed(s)).item() for s in (0, 10, 20)]
    assert share["values"] == [0.7 + 0.1 * x for x in noise]  # out of its band, which ended no run
    assert share["in_band"] == [False] * 3
    assert share["mean"] == pytest.approx(sum(share["values"]) / 3)
    middle = (share["interval"][0] + share["interval"][1]) / 2
    assert middle == pytest.approx(share["mean"])
    assert (share["control"], share["is_control"]) == ("tiny.even", False)
    assert (even["control"], even["is_control"], even["band"]) == (None, True, [0, 0.2])
    assert sometimes["values"] == [1, None, None]
    assert (sometimes["mean"], sometimes["interval"], sometimes["in_band"]) == (1, None, None)
    made = found["provenance"]
    assert made["source"] == cache.source(project, "tiny", solved_labs({"tiny": read_lab(project, "tiny")})["tiny"])
    assert (made["lab"], made["preset"], made["device"]) == ("tiny", "cpu", "cpu")
    assert made["command"] == "course replicate tiny --seeds 3"
    assert made["versions"].keys() == {"python", "torch", "numpy"}

    before = place.read_bytes()
    replicate(["tiny"], seeds=2, root=project.root)
    assert "of the present code already: tiny" in capsys.readouterr().out
    place.write_text(json.dumps({**found, "provenance": {**made, "source": "another"}}))
    replicate(["tiny"], seeds=2, root=project.root)
    assert "2 of 2 runs are kept from before, 0 to go" in (said := capsys.readouterr().out)
    assert "tiny stays as it is, on 3 seeds; 2 do not replace them" in said
    place.write_text("{half")
    replicate(["tiny"], seeds=3, root=project.root)
    assert place.read_bytes() == before
    with pytest.raises(SiteError, match="there is no lab nosuch; there are tiny"):
        replicate(["nosuch"], root=project.root)


def test_a_run_of_the_book_is_the_replication_on_seed_0_and_the_reverse(project, capsys):
    write_lab(project.root, cells(QUICK))
    run_labs(project, {"tiny": read_lab(project, "tiny")})
    replicate(seeds=2, root=project.root)
    assert "1 of 2 runs are kept from before, 1 to go" in capsys.readouterr().out

    def run_the_book():
        run_labs(project, {"tiny": read_lab(project, "tiny")})
        return capsys.readouterr().out

    write_lab(project.root, cells(QUICK + "\n"))
    replicate(seeds=1, root=project.root)
    assert "labs: 1 unchanged since they were last run (tiny)" in run_the_book()
    # A number out of its band ends a build of the book, and is not hidden from it.
    write_lab(project.root, cells(QUICK.replace('"band": None', '"band": [1, 2], "ok": False')))
    replicate(seeds=1, root=project.root)
    assert "labs: running tiny" in run_the_book()


def test_after_a_change_of_bands_alone_the_other_seeds_are_kept(project, capsys):
    def numbers():
        return replication.read(project, "tiny")["numbers"]

    with pytest.raises(SiteError, match="nobody has replicated tiny; run `course replicate tiny`"):
        renew(["tiny"], root=project.root)
    write_lab(project.root, cells(QUICK))
    replicate(seeds=2, root=project.root)
    write_lab(project.root, cells(QUICK.replace('"band": None', '"band": [0, 0.5]')))
    renew(root=project.root)
    assert (numbers()["tiny.seed"]["values"], numbers()["tiny.seed"]["in_band"]) == ([0, 1], [True, False])
    replicate(seeds=2, root=project.root)
    assert "replications: of the present code already: tiny" in capsys.readouterr().out
    write_lab(project.root, cells(QUICK.replace('["COURSE_SEED"])', '["COURSE_SEED"]) + 1')))
    before = numbers()
    with pytest.raises(
        SiteError, match=r"tiny: on seed 0 tiny\.seed is now 1\.0, not 0\.0; run `course replicate tiny`"
    ):
        renew(root=project.root)
    assert numbers() == before


def test_on_another_processor_the_replicated_code_is_run_there_to_compare(project, capsys, monkeypatch):
    """A processor that adds 5 to every number stands in for one that rounds otherwise."""
    lab = QUICK.replace('["COURSE_SEED"])', '["COURSE_SEED"]) + float(os.environ.get("PROCESSOR", 0))')

    def git(*arguments):
        settings = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *settings, *arguments], cwd=project.root, check=True, capture_output=True)

    git("init")
    (project.root / ".gitignore").write_text("_build\n")
    write_lab(project.root, cells(lab))
    git("add", ".")
    git("commit", "-m", "the lab")
    replicate(seeds=2, root=project.root)
    monkeypatch.setenv("PROCESSOR", "5")
    write_lab(project.root, cells(lab.replace('"band": None', '"band": [0, 0.5]')))
    capsys.readouterr()
    renew(root=project.root)
    assert "tiny: on seed 0 tiny.seed is now 5.0, not 0.0; running the code of" in capsys.readouterr().out
    number = replication.read(project, "tiny")["numbers"]["tiny.seed"]
    assert (number["values"], number["in_band"]) == ([0, 1], [True, False])
    assert subprocess.check_output(["git", "worktree", "list"], cwd=project.root).count(b"\n") == 1
    write_lab(project.root, cells(lab.replace("value = ", "value = 1 + ")))
    with pytest.raises(SiteError, match=r"tiny: on seed 0 tiny\.seed is now 6\.0, not 5\.0; run `course replicate"):
        renew(root=project.root)


def test_a_speed_may_be_another_on_each_run_when_bands_are_renewed():
    def records(share, speed):
        numbers = {"tiny.share": share, "tiny.steps-per-second": speed}
        return {key: {"value": value, "band": [0, 1], "control": None} for key, value in numbers.items()}

    made = replication.assemble({}, {0: records(0.5, 100), 1: records(0.6, 110)})
    assert replication.renew(made, records(0.5, 120)) is None
    assert replication.renew(made, records(0.5 + 1e-8, 120)) is None
    assert replication.renew(made, records(0.5 + 1e-5, 120)) is not None
    with_lead = records(0.5, 120)
    with_lead["tiny.share"]["lead"] = {"value": 0.2, "band": [0.1, 1]}
    assert replication.renew(made, with_lead) is None
    assert made["numbers"]["tiny.share"]["lead"] == [0.1, 1]
    assert replication.renew(made, records(0.5, 120)) is None
    assert "lead" not in made["numbers"]["tiny.share"]
    assert made["numbers"]["tiny.steps-per-second"]["values"] == [100, 110]
    assert "tiny.share is now 0.7, not 0.5" in replication.renew(made, records(0.7, 120))
    zero = replication.assemble({}, {0: records(1.2e-7, 100), 1: records(1.2e-7, 100)})
    assert replication.renew(zero, records(2.4e-7, 100)) is None
    assert "tiny.share is now 2e-06" in replication.renew(zero, records(2e-6, 100))


def test_a_killed_and_an_interrupted_replication_go_on_where_they_were(project):
    slow = "import time\nif value:\n    time.sleep(1)"  # so that no two runs end at once
    write_lab(project.root, cells(QUICK, slow))
    command = [sys.executable, "-m", "course_lib", "replicate", "--seeds", "3", "--jobs", "1"]
    env = {**os.environ, "PYTHONPATH": str(project.root)}

    def stopped_by(number):
        before = len(kept(project))
        with subprocess.Popen(
            command, cwd=project.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            while len(kept(project)) == before and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(number)
            said = process.communicate(timeout=60)[0]
        return process.returncode, said, kept(project)

    code, _, first = stopped_by(signal.SIGKILL)
    assert (code, len(first)) == (-signal.SIGKILL, 1)
    code, said, second = stopped_by(signal.SIGINT)
    assert (code, len(second)) == (130, 2)
    assert "1 of 3 runs are kept from before, 2 to go" in said
    assert "stopped, 1 runs to go; the same command goes on from here" in said
    assert "Traceback" not in said
    assert not replication.path(project, "tiny").exists()
    replicate(seeds=3, root=project.root)
    third = kept(project)
    assert {path: third[path] for path in second} == second
    assert replication.read(project, "tiny")["numbers"]["tiny.seed"]["values"] == [0, 1, 2]


def record(value, band, control=None, **more):
    return {"value": value, "band": band, "control": control and {"key": control}, **more}


@pytest.fixture
def whole():
    """A replication on four seeds that has nothing wrong with it."""
    shares, evens = [0.9, 0.95, 0.92, 0.97], [0.1, 0.2, 0.0, 0.1]
    runs = {
        seed: {
            "tiny.share": record(shares[seed], [0.8, 1], "tiny.even"),
            "tiny.even": record(evens[seed], [0, 0.3], control_of=[{}]),
            "tiny.exact": record(2.0, [2, 2]),
            "tiny.full": record(1.0, [0.9, 1]),
            "tiny.loss": record(shares[seed], [shares[seed] - 0.01, shares[seed] + 0.01]),
            "tiny.constant": record(5.0, [4 - seed, 6]),
            "tiny.count": record(7.0, None),
        }
        for seed in range(4)
    }
    return replication.assemble({"lab": "tiny", "source": "another", "reads_results": True}, runs)


def changed(made, key, **fields):
    made = copy.deepcopy(made)
    made["numbers"][key].update(fields)
    return list(replication.complaints(made))


def test_each_thing_that_may_be_wrong_with_a_band_has_its_complaint(whole):
    assert list(replication.complaints(whole)) == []
    told = changed(whole, "tiny.share", values=[0.9, 0.95, 0.92, 0.7])
    assert told == ["tiny.share: its band of 0.8 to 1, chosen on the seeds 0, 1, does not hold: 0.7 on seed 3"]
    told = changed(whole, "tiny.even", values=[0.1, None, 0.0, 0.5])
    assert told[0].endswith("does not hold: no finite number on seed 1, 0.5 on seed 3")
    (told,) = changed(whole, "tiny.share", band=[0.05, 1])
    assert told.startswith("tiny.share: its control would pass, since tiny.even has the mean 0.1 and the band is 0.05")
    (told,) = changed(whole, "tiny.exact", band=[1.9, 2.1])
    assert told.startswith("tiny.exact: 2 on every seed, in a lab that reads committed results; if it comes from these")
    measured = {**whole, "provenance": {**whole["provenance"], "reads_results": False}}
    assert changed(measured, "tiny.exact", band=[1.9, 2.1]) == []  # of a published model, say, which has no seed
    assert changed(whole, "tiny.exact", values=[2 + 1e-7 * k for k in range(4)], band=[2 - 1e-7, 2.1]) == []
    assert changed(whole, "tiny.exact", values=[2 + 1e-7 * k for k in range(4)], band=[1.9, 2.1]) != []
    assert changed(whole, "tiny.full", band=[0.9, 1.1]) != []
    assert changed(whole, "tiny.full", band=[0.9, None]) != []
    assert changed(whole, "tiny.loss", values=[0.9, 0.95, 0.92, 0.7]) != []  # judged by the bands of its own runs
    assert changed(whole, "tiny.share", lead=[0.5, 1]) == []  # on each seed by the control of the same seed
    (told,) = changed(whole, "tiny.share", lead=[0.5, 1], band=None, values=[0.9, 0.95, 0.92, 0.4])
    assert told.startswith("tiny.share - tiny.even: its band of 0.5 to 1, chosen on the seeds 0, 1, does not hold: ")
    (told,) = changed(whole, "tiny.share", lead=[-0.1, 1])
    assert told.endswith("its control would pass, since its band of -0.1 to 1 allows no difference")


def test_the_mean_over_the_seeds_has_a_band_of_its_own_where_single_runs_differ(whole, monkeypatch):
    band = {"cpu": (0.8, 1.0)}
    monkeypatch.setattr(replication, "means", lambda prefix: {"tiny.share": band} if prefix == "tiny" else {})
    assert changed(whole, "tiny.share", band=None, mean=0.85, values=[1.5, 0.2, 0.9, 0.8]) == []
    (told,) = changed(whole, "tiny.share", band=None, mean=0.7)
    assert told == "the mean of tiny.share: its band of 0.8 to 1 does not hold: 0.7 over 4 seeds"
    band["cpu"] = (0.05, 1.0)
    (told,) = changed(whole, "tiny.share", band=None)
    assert told.startswith("the mean of tiny.share: its control would pass, since tiny.even has the mean 0.1")


def keep(project, made):
    replication.write(project, {**made, "provenance": {**made["provenance"], "preset": "cpu"}})


def test_what_is_committed_bears_out_its_bands_and_its_rates():
    assert list(check(root=ROOT)) == []


def test_what_is_committed_is_of_the_code_that_is_here():
    """A page's means are of older code until `course replicate --renew`, by one run of a lab, has compared the two."""
    project = Project(ROOT)
    solved = solved_labs({lab: read_lab(project, lab) for lab in project.lab_slugs()})
    assert replication.changed_since(project, solved) == []


def run_check(*labs):
    done = CliRunner().invoke(app, ["replicate", "--check", *labs])
    return done.exit_code, done.output.splitlines()


def test_check_ends_with_1_where_it_complains_and_only_warns_of_a_lab_that_changed(project, whole, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(project.root)
    assert run_check() == (1, ["tiny: nobody has replicated it; run `course replicate tiny`"])
    keep(project, whole)
    warning = "replications: changed since they were made: tiny; run `course replicate` on them again"
    assert run_check("tiny") == (0, [warning, "replications: every band holds on the seeds kept"])
    solved = solved_labs({"tiny": read_lab(project, "tiny")})
    whole["provenance"]["source"] = cache.source(project, "tiny", solved["tiny"])
    whole["numbers"]["tiny.share"]["band"] = [0.91, 1]
    keep(project, whole)
    code, said = run_check()
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith("tiny: tiny.share: its band of 0.91 to 1")
    assert not project.build.exists()  # nothing was run


def test_prose_leaves_a_replication_as_it_is_and_code_does_not(project):
    def source():
        return cache.source(project, "tiny", solved_labs({"tiny": read_lab(project, "tiny")})["tiny"])

    write_lab(project.root, cells(QUICK))
    before = source()
    notebook = cells(QUICK)
    notebook[0].source += "\n\nMore prose."
    write_lab(project.root, notebook)
    assert source() == before
    write_lab(project.root, cells(QUICK + "\n"))
    assert source() != before


def test_what_shows_and_checks_leaves_a_replication_as_it_is(project):
    lab = cells("from course_lib import measure, show\nfrom course_lib.grader import check\n" + QUICK)
    write_lab(project.root, lab)

    def hashes():
        solved = solved_labs({"tiny": read_lab(project, "tiny")})["tiny"]
        return cache.source(project, "tiny", solved), cache.key(project, "tiny", solved)

    source, key = hashes()
    for shows in ("show/picture.py", "grader/render.py", "checkout.py"):  # which only the grader's room imports
        with (project.library / shows).open("a") as file:
            file.write("# more\n")
        assert hashes()[0] == source
        assert hashes()[1] != key  # `course book` runs it again, since it looks another way
        key = hashes()[1]
    with (project.library / "measure" / "record.py").open("a") as file:
        file.write("# more\n")
    assert hashes()[0] != source


SHOWN_AND_CHECKED = """
import random, numpy as np, torch
from course_lib import show
from course_lib.grader import check, use
def state():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
before = state()
show.figure(show.curves({"a": [1, 2], "b": [2, 1]}, xlabel="x", ylabel="y"))
show.figure(show.heatmap([[0.1, 0.9]], label="share"))
show.table([["a", 1.0]], ["name", "value"])
assert state() == before, "shown"
check("softmax", lambda x, dim: torch.randn(2) + random.random() + np.random.rand())
use("softmax", lambda x, dim: torch.softmax(x, dim))
assert state() == before, "checked"
"""


def test_showing_and_checking_draw_no_random_numbers():
    """Else a change in them would change what a lab draws next.

    In a process of its own, since the checks of types in tests draw numbers to choose which items they look at.
    """
    done = subprocess.run([sys.executable, "-c", SHOWN_AND_CHECKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("content", ["{half", "[]", "{}", '{"seeds": [0, 1], "numbers": {"a.b": {"values": [1]}}}'])
def test_a_damaged_file_is_a_sentence(project, content):
    place = replication.path(project, "tiny")
    place.parent.mkdir(parents=True)
    place.write_text(content)
    with pytest.raises((SiteError, DataError), match=r"replications/tiny\.json"):
        list(check(root=project.root))
    with pytest.raises((SiteError, DataError), match=r"replications/tiny\.json"):
        replication.attach(project, {"a.b": {"lab": "tiny", "preset": "cpu"}}, [])


def test_the_other_preset_has_a_file_of_its_own(project, monkeypatch):
    small = replication.path(project, "tiny")
    monkeypatch.setenv("COURSE_PRESET", "gpu")
    assert replication.path(project, "tiny") == small.parent / "gpu" / "tiny.json"
    assert replication.path(project, "tiny", "cpu") == small


def test_what_a_page_gets_to_know_about_a_number(project, whole):
    keep(project, whole)
    records = {
        "tiny.share": {"lab": "tiny", "preset": "cpu"},
        "tiny.new": {"lab": "tiny", "preset": "cpu"},
        "gpu:tiny.share": {"preset": "gpu"},
    }
    replication.attach(project, records, stale=[])
    made = records["tiny.share"]["replication"]
    assert made["values"] == whole["numbers"]["tiny.share"]["values"]
    assert made["control_values"] == whole["numbers"]["tiny.even"]["values"]
    assert (made["seeds"], made["stale"]) == ([0, 1, 2, 3], False)
    assert "replication" not in records["tiny.new"] | records["gpu:tiny.share"]


def test_the_mean_of_equal_values_is_that_value_and_has_no_interval():
    assert replication.average([0.1] * 10) == {"mean": 0.1, "interval": None}
    assert replication.average([None, None]) == {"mean": None, "interval": None}
    low, high = replication.average([1.0, None, 3.0])["interval"]
    assert high - 2 == pytest.approx(2 - low) == pytest.approx(12.7062, rel=1e-5)
