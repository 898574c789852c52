"""The benchmarks: fair turns and right ratios; each script runs, at a small size, to its end."""

import functools
import importlib
import json
import statistics
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from course_lib.recipes.estimate import UNCOUNTED

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import side_by_side as bench  # noqa: E402
import training  # noqa: E402


def test_turns_rotate_and_ratios_are_taken_within_a_round(monkeypatch):
    calls = []
    now = {"wall": 0.0, "cpu": 0.0}
    slow_down = iter([1, 1, 2, 100, 3, 5])  # the machine, from round to round and within one

    def contestant(name, seconds):
        def call():
            calls.append(name)
            if len(calls) > 2:  # the first call of each does not count
                factor = next(slow_down)
                now["wall"] += seconds * factor
                now["cpu"] += seconds

        return call

    monkeypatch.setattr(bench.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(bench.time, "process_time", lambda: now["cpu"])
    timings = bench.side_by_side({"a": contestant("a", 1.0), "b": contestant("b", 4.0)}, rounds=3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert timings.wall == {"a": [1, 100, 3], "b": [4, 8, 20]}
    assert timings.cpu == {"a": [1, 1, 1], "b": [4, 4, 4]}
    ratios = [4 / 1, 8 / 100, 20 / 3]
    assert timings.speed("a", "b")[1] == pytest.approx(statistics.median(ratios))
    assert timings.speed("b", "b") == (1, 1, 1)
    assert timings.speed("a", "b", "cpu") == (4, 4, 4)
    cells = bench.table("Title", timings, "b", 8.0, "MB").splitlines()[3].split()
    assert cells[:8] == ["a", "3.000", "1.000", "2.667", "4.00", "(2.04", "..", "5.33)"]
    assert cells[8:] == ["4.00", "(4.00", "..", "4.00)"]
    assert bench.record(timings, "b", 8.0, "MB")["wall"]["a"] == [1, 100, 3]


def test_no_comparison():
    with pytest.raises(ValueError, match="0 contestants and 7 rounds make no comparison"):
        bench.side_by_side({})
    with pytest.raises(ValueError, match="1 contestants and 0 rounds"):
        bench.side_by_side({"a": list}, rounds=0)


@pytest.mark.parametrize(
    ("name", "comparisons"),
    [
        ("tokenizer", 3),
        ("forward", 8),
        ("pretrain_step", 2),
        ("moe_step", 2),
        ("kernels", 6),
        ("vlm_step", 2),
        ("lora_step", 4),
        ("generation", 3),
        ("quantized", 1),
    ],
)
def test_a_benchmark_runs_and_finds_equal_work(name, comparisons, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--tiny", "--rounds", "2", "--json", str(tmp_path / "times.json")])
    importlib.import_module(name).main()
    assert capsys.readouterr().out.count("times as fast as") == comparisons
    runs = json.loads((tmp_path / "times.json").read_text())
    timed = [run for run in runs.values() if isinstance(run, dict) and "wall" in run]
    assert len(timed) == comparisons
    assert all(len(seconds) == 2 for run in timed for seconds in run["wall"].values())


def test_right_and_wrong_answers_are_told_apart_before_grading_is_timed(tmp_path, capsys, monkeypatch):
    import grading

    monkeypatch.setattr(sys, "argv", ["grading", "--tiny", "--rounds", "1", "--json", str(tmp_path / "times.json")])
    grading.main()
    assert "A class of 3" in capsys.readouterr().out
    assert json.loads((tmp_path / "times.json").read_text())["class"]["seconds"] > 0
    with pytest.raises(SystemExit, match="s1 got 14 of 14"):
        grading.expect({"s0": 14.0, "s1": 14.0})


def test_an_estimate_is_held_against_the_run(tmp_path, capsys, monkeypatch):
    import estimate
    import tiny_recipes

    from course_lib.data.corpora import pretraining
    from course_lib.recipes import estimate as costs

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretraining, "wikipedia_leads", tiny_recipes.articles)
    monkeypatch.setattr(costs, "SECONDS", 0.1)
    tiny_recipes.shrink(monkeypatch.setattr)
    monkeypatch.setattr(sys, "argv", ["estimate", "moe", "--json", str(tmp_path / "times.json")])
    estimate.main()
    assert capsys.readouterr().out.count("moe.") == 2
    kept = json.loads((tmp_path / "times.json").read_text())
    assert min(*kept["estimated"].values(), *kept["measured"].values()) > 0
    assert kept["estimated"].keys() == kept["measured"].keys() == {"moe.dense", "moe.experts"}


def test_each_in_a_process_of_its_own(capfd):
    # What makes the contestants is of Python alone, so that no process imports this file and with it torch.
    a, b = (functools.partial(functools.partial, time.sleep, seconds) for seconds in (0.01, 0.2))
    timings = bench.in_processes({"a": a, "b": b}, rounds=3)
    assert [len(seconds) for seconds in (*timings.wall.values(), *timings.cpu.values())] == [3, 3, 3, 3]
    assert min(timings.wall["b"]) >= 0.2 > min(timings.wall["a"])  # a sleep may take longer, never shorter
    assert timings.cpu["b"][1] < 0.1  # of that process, which sleeps
    with pytest.raises(RuntimeError, match="the process of b has failed"):
        bench.in_processes({"a": a, "b": functools.partial(open, "/no/such/file")}, rounds=3)
    assert "No such file or directory: '/no/such/file'" in capfd.readouterr().err


def test_a_peer_that_is_not_installed_is_named_and_left_out(capsys, monkeypatch):
    import moe_step

    monkeypatch.setitem(sys.modules, "litgpt.model", None)
    found = moe_step.contestants(moe_step.TINY, 16)
    assert "litgpt" not in found
    assert capsys.readouterr().out == "litgpt is not installed, so it is left out; see benchmarks/README.md\n"


def test_the_plain_loop_and_ours_make_the_same_steps(monkeypatch):
    """Not only as many FLOPs: the same losses, at a rate so high that decay and clipping show in them."""
    import pretrain_step

    monkeypatch.setattr(training, "LR", 0.1)
    torch.manual_seed(0)
    found = pretrain_step.contestants(pretrain_step.TINY)
    batches = [torch.randint(64, (2, 17)) for _ in range(4)]
    losses = {name: training.turn(one, batches, "fp32", compiled=False)() for name, one in found.items()}
    assert losses["plain loop"][0] < 5 < losses["plain loop"][-1]
    assert losses["course_lib"].loss == pytest.approx(losses["plain loop"], rel=1e-4)
    assert losses["transformers"] == pytest.approx(losses["plain loop"], rel=1e-4)


def contestant(d_in=4, d_out=4, bias=0.0):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, d_in), torch.nn.Linear(d_in, d_out))
    torch.nn.init.constant_(model[1].bias, bias)
    return training.Contestant(model, lambda model, x: 1 + model(x).square().mean(), model[1])


def test_unequal_work_is_refused():
    x = torch.ones(2, 4)
    training.check({"a": contestant(), "b": contestant()}, x, "fp32")
    with pytest.raises(AssertionError, match="b has 76 parameters, not 40"):
        training.check({"a": contestant(), "b": contestant(d_in=8)}, x, "fp32")
    with pytest.raises(AssertionError, match="b starts at another loss"):
        training.check({"a": contestant(), "b": contestant(bias=1e-2)}, x, "fp32")
    less = contestant()._replace(loss=lambda model, x: 1 + model(x[:1]).square().mean())  # the rows are the same
    with pytest.raises(AssertionError, match="the work differs"):
        training.check({"a": contestant(), "b": less}, x, "fp32")


def test_outputs_that_differ_are_refused():
    import forward

    a, b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    b.load_state_dict(a.state_dict())
    x = torch.ones(1, 4)
    forward.compare({"a": (a, a), "b": (b, b)}, [x], 1, 1)
    b.weight.data += 1e-3
    with pytest.raises(AssertionError, match="b differs by"):
        forward.compare({"a": (a, a), "b": (b, b)}, [x], 1, 1)
    more = torch.nn.Sequential(a, torch.nn.Linear(4, 4))
    with pytest.raises(AssertionError, match="'a': 20, 'b': 40"):
        forward.compare({"a": (a, a), "b": (more, a)}, [x], 1, 1)


def test_grouped_products_are_counted():
    """By the definition: so many rows, each times one matrix; and twice that again on the way back."""
    rows, matrices = torch.randn(48, 16, requires_grad=True), torch.randn(3, 16, 32, requires_grad=True)
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        F.grouped_mm(rows, matrices, offs=torch.tensor([16, 16, 48], dtype=torch.int32)).square().sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 48 * 16 * 32


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_begins_with_the_command_that_runs_it(path):
    text = path.read_text()
    if "__main__" in text:
        assert text.startswith(f"# .venv/bin/python benchmarks/{path.name}")
