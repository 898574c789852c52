"""Trials of learning rates: what a lab is told, what it tells, what is chosen, and what is wrong with a choice."""

import json

import nbformat
import pytest
from site_project import lab_cells, make_project, write_lab

from course_lib.errors import DataError
from course_lib.measure import trial_curves, tuned_rates, tuning
from course_lib.site import rates, replicate
from course_lib.site.paths import Project, SiteError

# Losses that a rate of 0.3, or 0.01, makes lowest; the loss of the third goes down without end.
LAB = """\
from course_lib.measure import tuned_rates
import math

RATES = tuned_rates("tiny", "arms")
for arm, best in (("first", 0.3), ("second", 0.01)):
    RATES.tried(arm, lambda: abs(math.log(RATES[arm] / best)))
RATES.tried("endless", lambda: 1 / RATES["endless"])
RATES.tried("diverging", lambda: abs(math.log(RATES["diverging"] / 0.03)) if RATES["diverging"] < 0.2 else math.nan)
"""


def entry(chosen, **losses):
    return {"losses": {rate.replace("r", "0."): values for rate, values in losses.items()}, "chosen": chosen}


def trial(*entries, seeds=(100, 101)):
    arms = {f"arm {i}": one for i, one in enumerate(entries)}
    return {"provenance": {"seeds": list(seeds)}, "comparisons": {"arms": {"arms": arms}}}


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A file of rates that the library reads in place of the committed ones."""
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(trial(entry(0.1))))
    monkeypatch.setattr(tuning, "committed_file", lambda name: file)


def test_a_lab_trains_at_the_chosen_rates_and_tells_nothing(committed, capsys):
    found = tuned_rates("tiny", "arms")
    assert dict(found) == {"arm 0": 0.1}
    found.tried("arm 0", lambda: pytest.fail("a loss was computed, and nobody asked"))
    assert capsys.readouterr().out == ""
    with pytest.raises(DataError, match=r"results/rates/tiny\.json has no 'others'; there are arms"):
        tuned_rates("tiny", "others")


def test_a_lab_shows_the_losses_of_a_trial_but_not_those_of_a_rate_at_which_a_model_diverged(tmp_path, monkeypatch):
    file = tmp_path / "tiny.json"
    arm = {"losses": {"0.1": [1.0, 2.0], "0.3": [0.5, 1.0], "0.9": [4.0, None]}, "chosen": 0.3}
    file.write_text(json.dumps(trial(arm)))
    monkeypatch.setattr(tuning, "committed_file", lambda name: file)
    assert trial_curves("tiny", "arms") == {"arm 0": ([0.1, 0.3], [1.5, 0.75])}


def test_in_a_trial_it_trains_at_others_and_tells_the_loss(committed, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_RATE_FACTOR", "0.3333333333")
    found = tuned_rates("tiny", "arms")
    assert found["arm 0"] == 0.0333
    found.tried("arm 0", lambda: 2.5)
    assert capsys.readouterr().out == "arms, arm 0: 2.5 at a rate of 0.0333\n"


def test_the_accelerator_may_want_other_rates(committed, monkeypatch):
    monkeypatch.setenv("COURSE_PRESET", "gpu")
    assert dict(tuned_rates("tiny", "arms", gpu={"arm 0": 0.001})) == {"arm 0": 0.001}
    assert dict(tuned_rates("tiny", "arms")) == {"arm 0": 0.1}


def test_the_grid_grows_until_the_best_rate_has_a_worse_one_on_each_side(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "EXTENSIONS", 2)
    project = Project(make_project(tmp_path / "book"))
    cells = [*lab_cells()[:3], nbformat.v4.new_code_cell(LAB, id="lab")]
    file = rates.path(project, "tiny")
    write_lab(project.root, cells)
    file.parent.mkdir(parents=True)
    before = {arm: {"losses": {}, "chosen": 0.1} for arm in ("first", "second", "endless", "diverging")}
    file.write_text(json.dumps({"provenance": {"seeds": []}, "comparisons": {"arms": {"arms": before}}}))
    rates.try_rates("tiny", seeds=[100], root=project.root)
    made = json.loads(file.read_text())
    arms = made["comparisons"]["arms"]["arms"]
    assert arms["first"]["chosen"] == 0.3
    assert arms["second"]["chosen"] == 0.0111
    assert arms["endless"]["chosen"] == 2.7  # the last that was tried
    assert arms["diverging"]["losses"]["0.3"] == [None]
    assert arms["diverging"]["chosen"] == 0.0333
    assert made["provenance"]["seeds"] == [100]
    told = list(rates.complaints(made, range(10)))
    assert told == ["arms, endless: 2.7 is at an end of the rates that were tried; try one beyond it"]


STAGES = """\
from course_lib.measure import tuned_rates
import math

RATES = tuned_rates("tiny", "stages")
RATES.tried("first", lambda: abs(math.log(RATES["first"] / 0.3)))
RATES.tried("second", lambda: abs(math.log(RATES["second"] / RATES["first"])))
"""


def test_one_by_one_a_later_arm_is_tried_on_top_of_the_chosen_rate_of_an_earlier_one(tmp_path):
    project = Project(make_project(tmp_path / "book"))
    file = rates.path(project, "tiny")
    write_lab(project.root, [*lab_cells()[:3], nbformat.v4.new_code_cell(STAGES, id="lab")])
    file.parent.mkdir(parents=True)
    before = {arm: {"losses": {}, "chosen": 0.1} for arm in ("first", "second")}
    file.write_text(json.dumps({"provenance": {"seeds": []}, "comparisons": {"stages": {"arms": before}}}))
    rates.try_rates("tiny", seeds=[100], root=project.root, one_by_one=True)
    made = json.loads(file.read_text())
    arms = made["comparisons"]["stages"]["arms"]
    assert {arm: entry["chosen"] for arm, entry in arms.items()} == {"first": 0.3, "second": 0.3}  # not 0.1
    assert [len(entry["losses"]) for entry in arms.values()] == [4, 4]
    assert made["provenance"]["command"] == "course rates tiny --seeds 100 --one-by-one"
    assert not list(rates.complaints(made, range(10)))


def test_a_lab_that_tells_no_loss_is_told_so(tmp_path):
    project = Project(make_project(tmp_path / "book"))
    write_lab(project.root, [nbformat.v4.new_code_cell("1 + 1", id="sum")])
    with pytest.raises(SiteError, match=r"labs/tiny\.ipynb tells no loss"):
        rates.try_rates("tiny", root=project.root)
    with pytest.raises(SiteError, match="there is no lab nosuch; there are tiny"):
        rates.try_rates("nosuch", root=project.root)


GOOD = {"r1": [2.0, 2.2], "r2": [1.0, 1.2], "r3": [1.5, 1.1]}


def test_a_choice_that_the_trial_bears_out_is_no_complaint():
    assert not list(rates.complaints(trial(entry(0.2, **GOOD)), range(10)))
    kept = entry(0.3, **GOOD, r4=[2.0, 2.0]) | {"why": "0.2 is not better on each seed"}
    assert not list(rates.complaints(trial(kept), range(10)))


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (trial(entry(0.2, **GOOD), seeds=(7, 101)), "on seed 7, on which its numbers are reported"),
        (trial(entry(0.4, **GOOD)), "the rate 0.4 was not tried"),
        (trial(entry(0.3, **GOOD)), "0.2 had a lower loss than 0.3"),
        (trial(entry(0.2, r1=[2.0, 2.2], r2=[1.0, 1.2])), "2 rates are no choice"),
        (trial(entry(0.2, **GOOD | {"r1": [2.0]})), "the rate 0.1 was not tried on each of 2 seeds"),
        (trial(entry(0.1, r1=[0.1, 0.1], r2=[1.0, 1.2], r3=[2.0, 2.0])), "0.1 is at an end"),
        (trial(entry(0.3, r1=[1.1, 1.1], r2=[1.0, 1.2], r3=[0.2, 0.2])), "0.3 is at an end"),
        (
            trial(entry(0.3, **GOOD | {"r3": [0.5, 2.0]}) | {"why": "0.2 is not better on each seed"}),
            "0.3 is at an end",
        ),
        (trial(entry(0.2, **GOOD | {"r2": [1.0, None]})), "had a lower loss than 0.2"),
    ],
)
def test_a_choice_that_it_does_not_bear_out_is_one(made, sentence):
    assert any(sentence in told for told in rates.complaints(made, range(10)))


def test_a_rate_stays_unless_another_is_better_on_each_seed(tmp_path):
    project = Project(make_project(tmp_path / "book"))
    before = trial(entry(0.1), entry(0.1))
    tried = {
        ("arms", "arm 0"): {0.1: [2.0, 2.2], 0.2: [1.0, 2.3], 0.3: [3.0, 3.0]},
        ("arms", "arm 1"): {0.1: [2.0, 2.2], 0.2: [1.0, 2.1], 0.3: [3.0, 3.0]},
    }
    arms = rates._assemble(project, "tiny", (100, 101), tried, before)["comparisons"]["arms"]["arms"]
    assert (arms["arm 0"]["chosen"], arms["arm 0"]["why"]) == (0.1, "0.2 is not better on each seed")
    assert (arms["arm 1"]["chosen"], arms["arm 1"].get("why")) == (0.2, None)


@pytest.mark.parametrize(("seeds", "asked"), [(rates.SEEDS, ""), ((100, 102), " --seeds 100 --seeds 102")])
def test_a_trial_says_the_command_that_repeats_it(tmp_path, seeds, asked):
    made = rates._assemble(Project(make_project(tmp_path / "book")), "tiny", seeds, {}, {})
    assert made["provenance"]["command"] == f"course rates tiny{asked}"


def test_the_rates_of_a_recipe_are_checked_beside_those_of_the_labs(tmp_path):
    project = Project(make_project(tmp_path / "book"))
    write_lab(project.root, lab_cells()[:3])
    file, run = rates.path(project, "moe"), project.root / "results" / "hour" / "moe-seed100.json"
    for path, content in ((file, trial(entry(0.2, **GOOD))), (run, {"provenance": {"seed": 100}})):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    sentence = "moe: its rates were chosen on seed 100, on which its numbers are reported"
    assert sentence in replicate.check(root=project.root)
    assert not [told for told in replicate.check(["tiny"], project.root) if told.startswith("moe")]
    run.unlink()
    assert sentence not in replicate.check(root=project.root)
