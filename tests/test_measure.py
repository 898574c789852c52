"""Numbers: records and their bands, presets, intervals, entropies."""

import inspect
import json
import math
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nbclient import NotebookClient

from course_lib.errors import CourseError
from course_lib.measure import (
    OutOfBand,
    bands,
    bootstrap,
    device,
    entropy,
    pick,
    predict,
    record,
    seed,
    t_interval,
    wilson,
)
from course_lib.preset import course_seed, preset

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    monkeypatch.delenv("COURSE_PRESET", raising=False)


def run(*cells, **env):
    """Execute cells in a real kernel; return their outputs."""
    setting = f"import os; os.environ.update({env!r}); from course_lib.measure import record; import torch"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in (setting, *cells)])
    NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=120).execute()
    nbformat.validate(notebook)
    json.dumps(notebook, allow_nan=False)
    return [cell.outputs for cell in notebook.cells[1:]]


def test_a_notebook_carries_the_record():
    (good,), (bad,), strict = run(
        "record('recall.accuracy', torch.tensor(0.994), (0.9, 1), control=('recall.uniform', 0.13, (0, 0.25)))",
        "record('recall.accuracy', float('nan'), {'cpu': (0.9, 1)})",
        "os.environ['COURSE_STRICT'] = '1'; record('recall.accuracy', 0.5, (0.9, float('inf')))",
        COURSE_SEED="3",
    )
    assert good.output_type == "display_data"
    assert list(good.data) == ["text/plain"]
    told = "recall.accuracy = 0.994  (expected 0.9 to 1)\n  control: recall.uniform = 0.13  (expected 0 to 0.25)"
    assert good.data["text/plain"] == told
    assert good.metadata["course_record"] == {
        "key": "recall.accuracy",
        "value": pytest.approx(0.994),
        "band": [0.9, 1],
        "ok": True,
        "preset": "cpu",
        "seed": 3,
        "device": "cpu",
        "control": {"key": "recall.uniform", "value": 0.13, "band": [0, 0.25], "ok": True},
    }
    assert bad.metadata["course_record"]["value"] is None
    assert bad.metadata["course_record"]["ok"] is False
    assert "came out as not a finite number, where the page expected 0.9 to 1" in bad.data["text/plain"]
    assert strict[0].metadata["course_record"]["band"] == [0.9, None]
    assert strict[1].ename == "OutOfBand"
    assert "recall.accuracy came out as 0.5, where the page expected at least 0.9" in strict[1].evalue


def test_outside_ipython_it_prints(capsys):
    assert record("a.b", 1) is None
    assert record("a.b", 0.25, (0, 1)) is None
    assert capsys.readouterr().out == "a.b = 1\na.b = 0.25  (expected 0 to 1)\n"


def test_out_of_band_is_one_sentence_for_a_learner_and_an_error_when_strict(capsys, monkeypatch):
    record("a.b", 2, (0, 1))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[1].startswith("a.b came out as 2, where the page expected 0 to 1: look at")
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(OutOfBand, match=r"a\.b came out as 2"):
        record("a.b", 2, (0, 1))
    with pytest.raises(OutOfBand, match=r"a\.c came out as 2"):
        record("a.b", 1, (0, 1), control=("a.c", 2, (0, 1)))
    with pytest.raises(OutOfBand, match=r"a\.b .*a\.c "):
        record("a.b", 5, (0, 1), control=("a.c", 2, (0, 1)))
    with pytest.raises(OutOfBand, match="not a finite number"):
        record("a.b", math.nan, (-math.inf, math.inf))
    record("a.b", math.nan)  # nothing was claimed


@settings(deadline=None)
@given(low=st.floats(allow_nan=False), high=st.floats(allow_nan=False), value=st.floats())
def test_both_ends_belong_to_the_band(low, high, value):
    from course_lib.measure.record import _judge

    if low > high:
        with pytest.raises(ValueError, match="lower end first"):
            _judge("a.b", value, (low, high))
        return
    entry = _judge("a.b", value, (low, high))
    assert entry["ok"] is (low <= value <= high)
    json.dumps(entry, allow_nan=False)


def test_bands_per_preset(capsys, monkeypatch):
    bands = {"cpu": (0, 1), "gpu": (2, 3)}
    monkeypatch.setenv("COURSE_STRICT", "1")
    record("a.b", 0.5, bands)
    record("a.b", 9, {"gpu": (2, 3)})  # no claim for this preset
    assert "expected" not in capsys.readouterr().out.splitlines()[1]
    with pytest.raises(OutOfBand):
        record("a.b", 2.5, bands)


def test_a_band_may_stand_in_the_table_and_only_there(monkeypatch, capsys):
    monkeypatch.setattr(bands, "_read", lambda prefix: {"a.b": {"cpu": [0.5, 1]}, "a.c": [0, 0.1]})
    record("a.b", 0.7, control=("a.c", 0.2))
    assert "a.b = 0.7  (expected 0.5 to 1)\n  control: a.c = 0.2  (expected 0 to 0.1)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has a band in course_lib/measure/expected already"):
        record("a.b", 0.7, (0, 1))


def test_a_number_may_be_judged_by_its_lead_over_its_control(monkeypatch, capsys):
    monkeypatch.setattr(bands, "_read", lambda prefix: {"lead": {"a.b": {"cpu": [0.2, 1]}}})
    record("a.b", 0.75, control=("a.c", 0.5))
    record("a.b", 0.6, control=("a.c", 0.5))
    record("a.b", float("nan"), control=("a.c", 0.5))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["a.b = 0.75", "  control: a.c = 0.5", "  a.b - a.c = 0.25  (expected 0.2 to 1)"]
    assert lines[6].startswith("a.b - a.c came out as 0.1, where the page expected 0.2 to 1")
    assert lines[10].startswith("a.b - a.c came out as not a finite number")
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(OutOfBand, match=r"a\.b - a\.c came out as 0\.1"):
        record("a.b", 0.6, control=("a.c", 0.5))
    with pytest.raises(ValueError, match="give record\\(\\) its control"):
        record("a.b", 0.6)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "course_lib/measure/expected").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_band_in_a_table_is_of_a_number_that_a_lab_records(path):
    labs = "".join(file.read_text(encoding="utf8") for file in (ROOT / "labs").glob("*.ipynb"))
    written = set(re.findall(rf'\\"({path.stem}\.[^"\\]+)\\"', labs))  # {...} is what a loop puts in
    patterns = [re.sub(r"\\\{[^{}]*\\\}", "[^.]+", re.escape(key)) for key in written]
    table = bands.table(path.stem)
    assert table
    judged = [*table.items(), *bands.leads(path.stem).items(), *bands.means(path.stem).items()]
    for key in [*(key for key, _ in judged), *bands.descriptive(path.stem)]:
        assert key.startswith(f"{path.stem}.")
        assert any(re.fullmatch(pattern, key) for pattern in patterns), f"no lab records {key}"
    for _, band in judged:
        for ends in band.values() if isinstance(band, dict) else [band]:
            assert isinstance(ends, tuple)
            low, high = ends
            assert low <= high


def test_a_prediction_is_told_beside_what_came_out(capsys):
    predict("p.share", 0.5)
    predict("p.word", "about half")
    predict("p.none", ...)
    assert capsys.readouterr().out == ""
    record("p.share", 0.8, control=("p.word", 0.1))
    record("p.none", 1)
    predict("p.share", 0.8)
    record("p.share", 0.80001)
    predict("p.share", ...)
    record("p.share", 0.8)
    assert capsys.readouterr().out.splitlines() == [
        "p.share = 0.8",
        "  You predicted 0.5, which is 0.3 too low.",
        "  control: p.word = 0.1",
        "  You predicted about half.",
        "p.none = 1",
        "p.share = 0.8",
        "  You predicted 0.8, and so it came out.",
        "p.share = 0.8",
    ]
    with pytest.raises(TypeError, match=r"a number, such as 0\.5, or words"):
        predict("p.share", [1, 2])
    with pytest.raises(ValueError, match="words joined by dots"):
        predict("share", 1)


def test_a_band_for_no_preset_is_refused():
    with pytest.raises(ValueError, match=r"a\.b has a band for cpus, but the presets are cpu and gpu"):
        record("a.b", 9, {"cpus": (0, 1), "gpu": (2, 3)})  # it would judge nothing


@pytest.mark.parametrize("value", [1, 1.0, True, np.float32(1), np.ones(1), torch.ones(()), torch.ones(1, 1), "1"])
def test_values_that_are_one_number(value, capsys):
    if isinstance(value, np.ndarray) and value.ndim:
        value = value.reshape(())
    record("a.b", value, (1, 1))
    assert capsys.readouterr().out.startswith("a.b = 1 ")


@pytest.mark.parametrize(
    ("value", "words"), [(torch.ones(3), r"Tensor of shape \(3,\)"), (None, "NoneType"), ([1], "list"), (1j, "complex")]
)
def test_values_that_are_not(value, words):
    with pytest.raises(TypeError, match=rf"a\.b should be one number, not a {words}"):
        record("a.b", value)


@pytest.mark.parametrize("key", ["", "recall", "Recall.accuracy", "a.", ".a", "a..b", "a b.c", "a.b\n", "ä.b"])
def test_malformed_keys(key):
    with pytest.raises(ValueError, match="lower-case words joined by dots"):
        record(key, 1)


def test_presets(monkeypatch):
    assert (preset(), pick(cpu=1, gpu=2)) == ("cpu", 1)
    assert device() == torch.device("cpu")
    monkeypatch.setenv("COURSE_PRESET", "")
    assert preset() == "cpu"
    monkeypatch.setenv("COURSE_PRESET", "gpu")
    assert (preset(), pick(cpu=1, gpu=2)) == ("gpu", 2)
    monkeypatch.setenv("COURSE_PRESET", "tpu")
    for ask in (preset, device, lambda: pick(cpu=1, gpu=2), lambda: record("a.b", 1)):
        with pytest.raises(CourseError, match="COURSE_PRESET is 'tpu'; set it to cpu or gpu, or unset it"):
            ask()


def test_the_seeds_of_a_replication(monkeypatch):
    monkeypatch.delenv("COURSE_SEED", raising=False)
    assert (course_seed(), seed()) == (0, 0)
    monkeypatch.setenv("COURSE_SEED", "")
    assert seed() == 0
    monkeypatch.setenv("COURSE_SEED", "7")
    assert (course_seed(), seed()) == (7, 70)
    for wrong in ("-1", "1.5", "one", " 1", "1\n", "٣", "123456789"):
        monkeypatch.setenv("COURSE_SEED", wrong)
        with pytest.raises(CourseError, match="set it to a whole number from 0 to 99999999, or unset it for 0"):
            seed()


def test_device_of_the_gpu_preset(monkeypatch):
    monkeypatch.setenv("COURSE_PRESET", "gpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    for ask in (device, seed):  # a lab asks for its seed first
        with pytest.raises(CourseError, match=r"gpu needs an accelerator, and torch sees none; .* unset COURSE_PRESET"):
            ask()
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    assert device().type == "cuda"


@settings(deadline=None)
@given(trials=st.integers(1, 10_000), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_ends_are_as_far_away_as_it_says(trials, share, confidence):
    """By its definition each end p has |share - p| equal to z standard errors of p."""
    successes = round(trials * share)
    low, high = wilson(successes, trials, confidence)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1
    z = {0.5: 0.674489750196, 0.9: 1.644853626951, 0.95: 1.959963984540, 0.99: 2.575829303549}[confidence]
    for p in (low, high):
        if 0 < p < 1:  # within 1e-7: where p should be 0 or 1 but is 2e-16 off, the root makes 3e-8 of it
            assert abs(successes / trials - p) == pytest.approx(z * math.sqrt(p * (1 - p) / trials), abs=1e-7)


def test_wilson_refuses_what_is_no_proportion():
    for successes, trials in [(0, 0), (3, 2), (-1, 2)]:
        with pytest.raises(ValueError, match="not a proportion"):
            wilson(successes, trials)


def test_bootstrap_of_a_mean():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap(values)
    error = values.std().item() / 20
    # With 2,000 resamples an end lies within about 0.12 standard errors (5 sigma of a 2.5% quantile: 5 * 0.06 / ...),
    # so 0.4 leaves room.
    assert low == pytest.approx(values.mean().item() - 1.96 * error, abs=0.4 * error)
    assert high == pytest.approx(values.mean().item() + 1.96 * error, abs=0.4 * error)
    assert bootstrap(values) == (low, high)
    assert bootstrap([1, 1, 1]) == (1, 1)
    for wrong in ([1.0], [], torch.ones(2, 2)):
        with pytest.raises(ValueError, match="two values or more"):
            inspect.unwrap(bootstrap)(wrong)  # of a shape that the tests would refuse


@pytest.mark.parametrize(
    ("n", "confidence", "quantile"),
    [(2, 0.95, 12.706205), (3, 0.95, 4.302653), (10, 0.95, 2.262157), (11, 0.99, 3.169273), (31, 0.9, 1.697261)],
)
def test_t_interval_has_the_quantiles_of_the_tables(n, confidence, quantile):
    values = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * 2 + 5
    low, high = t_interval(values.tolist(), confidence)
    error = values.std().item() / math.sqrt(n)
    assert (low + high) / 2 == pytest.approx(values.mean().item())
    assert (high - low) / 2 == pytest.approx(quantile * error, rel=1e-6)


def test_t_interval_needs_two_values():
    assert t_interval([2, 2, 2]) == (2, 2)
    with pytest.raises(ValueError, match="two values or more, not 1"):
        t_interval([1.0])


def test_entropy():
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0], [0.5, 0.5, 0, 0]])
    assert entropy(p).tolist() == pytest.approx([math.log(4), 0, math.log(2)])
    assert entropy(p.T, dim=0).tolist() == entropy(p).tolist()


def test_recording_does_not_import_ipython():
    import subprocess

    program = "import sys; from course_lib.measure import record; record('a.b', 1); assert 'IPython' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
