"""`course train vision-rates`: its grids grow, a run that is stopped goes on, and its stages are those of the lab."""

import ast

import nbformat
import pytest
import tiny_emoji
from site_project import ROOT

from course_lib.data.corpora import emoji
from course_lib.files import read_json
from course_lib.measure import tuned_rates
from course_lib.recipes import vision_rates, vision_text
from course_lib.recipes.rates import RATES_FILE
from course_lib.recipes.run import Run
from course_lib.site import rates

LAB = ROOT / "labs" / "capstone_vision_text.ipynb"


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """All stages for a few steps, on invented emoji."""
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    tiny_emoji.prepare(monkeypatch.setattr)
    tiny_emoji.shrink(monkeypatch.setattr)
    monkeypatch.setattr(vision_rates, "FULL", vision_text.PRESETS)
    yield
    emoji._words.cache_clear()
    emoji.concepts.cache_clear()


def run(out, **asked):
    return vision_rates.vision_rates(Run("vision-rates", out, seed=25, preset="cpu", steps=4, **asked)).values


def test_a_stage_goes_on_from_the_best_of_the_one_before(tiny, tmp_path, monkeypatch):
    grids = {stage: (1e-3, 2e-3, 4e-3) for stage in vision_rates.STEPS}
    monkeypatch.setattr(vision_rates, "PRESETS", {"cpu": grids})
    best = {"contrastive": 2e-3, "text": 1e-3, "align": 4e-3, "pictures": 2e-3}
    learned = []

    def stage(name):
        def learn(bench, before, rate):
            assert (before or {}) == dict(list(best.items())[: list(best).index(name)])
            learned.append(rate)
            return {**(before or {}), name: rate}

        return vision_rates.Stage(learn, lambda bench, model: abs(model[name] - best[name]))

    monkeypatch.setattr(vision_rates, "STAGES", {name: stage(name) for name in best})
    run(tmp_path / "run")
    made = read_json(tmp_path / "run" / RATES_FILE)
    arms = made["comparisons"]["stages"]["arms"]
    assert {name: arm["chosen"] for name, arm in arms.items()} == best
    assert list(arms["text"]["losses"]) == ["0.0005", "0.001", "0.002", "0.004"]
    assert list(arms["align"]["losses"]) == ["0.001", "0.002", "0.004", "0.008"]
    assert made["provenance"]["seeds"] == [100, 101, 102, 103]
    assert not list(rates.complaints(made, range(10)))
    before = len(learned)
    run(tmp_path / "run", resume=True)  # what is measured already is trained again only where a later stage needs it
    assert len(learned) == before


def test_the_stages_train_on_real_models(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(vision_rates, "PRESETS", {"cpu": dict.fromkeys(vision_rates.STEPS, (1e-3, 2e-3, 4e-3))})
    monkeypatch.setattr("course_lib.recipes.rates.GROWTHS", 0)
    shares, sizes = [], []

    def seen(miss):
        def measured(bench, model):
            shares.append(miss(bench, model))
            sizes.append(sum(parameter.detach().abs().sum().item() for parameter in model.parameters()))
            return shares[-1]

        return measured

    stages = {name: stage._replace(miss=seen(stage.miss)) for name, stage in vision_rates.STAGES.items()}
    monkeypatch.setattr(vision_rates, "STAGES", stages)
    values = run(tmp_path / "run")
    losses = {key: loss for key, loss in values.items() if key.endswith(".loss")}
    assert [share for key, share in values.items() if key not in losses] == shares
    assert len(shares) == 4 * 3 * vision_rates.SEEDS
    assert len(losses) == 3 * 3 * vision_rates.SEEDS  # the eyes answer no questions
    assert all(loss > 0 for loss in losses.values())
    arms = read_json(tmp_path / "run" / RATES_FILE)["comparisons"]["stages"]["arms"]
    assert [loss for arm in arms.values() for told in arm.get("told", {}).values() for loss in told] == [
        *losses.values()
    ]
    assert all(0 <= share <= 1 for share in shares)
    assert len(set(sizes)) == len(sizes)  # each stage, rate and seed has made another model


def test_the_stages_are_as_long_as_the_labs():
    (cell,) = (cell for cell in nbformat.read(LAB, as_version=4).cells if cell.id == "plan")
    (steps,) = (
        node.value
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "STEPS"
    )
    (cpu,) = (keyword.value for keyword in steps.keywords if keyword.arg == "cpu")
    assert ast.literal_eval(cpu) == vision_rates.STEPS


def test_the_lab_has_a_rate_for_each_stage():
    chosen = tuned_rates(vision_rates.LAB, vision_rates.COMPARISON)
    assert set(chosen) == set(vision_rates.STEPS) == set(vision_rates.STAGES)
