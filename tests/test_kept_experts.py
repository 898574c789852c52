"""The kept trial of `course train experts` belongs to the code that is here, and the lab has the rates chosen by it."""

import ast
import json

import nbformat
import pytest
from site_project import ROOT

from course_lib.recipes.experts_sweep import COMPARISONS, KEPT, LAB, SEEDS, TEXT_STEPS
from course_lib.recipes.run import seeds_of

TRIAL = json.loads((ROOT / "results" / "rates" / f"{LAB}.json").read_text(encoding="utf8"))
ARMS = [(name, arm) for name, comparison in TRIAL["comparisons"].items() for arm in comparison["arms"]]
OF_LAB = {
    "facts": ("RATES", "WHY_RATES", "EVEN_RATES"),
    "question mark": ("MARK_RATES",),
    "two looks": ("LOOK_RATES",),
    "halves": ("HALF_RATES",),
}


def rates_of_lab():
    """The rates that the lab types, by the names of its variables."""
    cells = nbformat.read(ROOT / "labs" / f"{LAB}.ipynb", as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code" and cell.id != "colab-setup")
    typed = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    named = {target.id: node for node in typed for target in node.targets if isinstance(target, ast.Name)}
    return {name: ast.literal_eval(node.value) for name, node in named.items() if name.endswith(("RATE", "RATES"))}


def test_the_trial_is_whole():
    assert TRIAL["provenance"]["seeds"] == list(seeds_of(KEPT, SEEDS))
    steps = {name: of["steps"] for name, of in TRIAL["comparisons"].items()}
    assert steps == {name: of.steps for name, of in COMPARISONS.items()} | {"text": TEXT_STEPS}
    assert [(name, arm) for name, of in COMPARISONS.items() for arm in of.arms] + [("text", "mixture")] == ARMS


@pytest.mark.parametrize(("comparison", "arm"), ARMS)
def test_the_best_rate_is_inside_the_grid(comparison, arm):
    tried = TRIAL["comparisons"][comparison]["arms"][arm]
    mean = {float(rate): sum(losses) for rate, losses in tried["losses"].items()}
    assert all(len(losses) == SEEDS for losses in tried["losses"].values())
    if (best := min(mean, key=mean.get)) != tried["chosen"]:  # then it had that rate before
        assert tried["why"] == f"{best:g} is not better from each seed"
    assert min(mean) < best < max(mean)


def test_the_lab_has_the_chosen_rates():
    chosen = {
        name: {arm: tried["chosen"] for arm, tried in of["arms"].items()} for name, of in TRIAL["comparisons"].items()
    }
    typed = rates_of_lab()
    for comparison, variables in OF_LAB.items():
        assert {arm: rate for name in variables for arm, rate in typed[name].items()} == chosen[comparison]
    assert {"dense": typed["LONGER_RATE"]} == chosen["facts, as many seconds"]
    assert {"mixture": typed["TEXT_RATE"]} == chosen["text"]
