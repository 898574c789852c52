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

import kept  # noqa: E402
import provenance  # noqa: E402
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
    result = json.loads((tmp_path / "times.json").read_text())
    assert len(result["comparisons"]) == comparisons
    assert all(len(seconds) == 2 for run in result["comparisons"].values() for seconds in run["wall"].values())
    assert (result["benchmark"], result["source"]) == (name, provenance.source(name))
    assert result["machine"]["options"]["rounds"] == 2
    assert kept.tables(name, [result]).count(" (") >= comparisons


def test_right_and_wrong_answers_are_told_apart_before_grading_is_timed(tmp_path, capsys, monkeypatch):
    import grading

    monkeypatch.setattr(sys, "argv", ["grading", "--tiny", "--rounds", "1", "--json", str(tmp_path / "times.json")])
    grading.main()
    assert "A class of 3" in capsys.readouterr().out
    assert json.loads((tmp_path / "times.json").read_text())["class"]["seconds"] > 0
    with pytest.raises(SystemExit, match="s1 got 14 of 14"):
        grading.expect({"s0": 14.0, "s1": 14.0})


def test_the_tables_are_those_of_what_is_kept():
    """Without a clock: the text between the marks, and which columns are of older code."""
    text = kept.README.read_text()
    told = "\n".join(kept.measured_on_older_code())
    assert text == kept.with_tables(text), f".venv/bin/python benchmarks/kept.py --tables renews README.md\n{told}"


def result(processor="Xeon", ratio=1.5, source="now", **machine):
    here = {"processor": processor, "cores": 2, "threads": 2, "others": 0.1, "options": {"rounds": 7}, "torch": "2.13"}
    run = {"peer": "theirs", "speed_quartiles_wall": {}, "speed_quartiles_cpu": {}}
    for clock, factor in (("wall", 1), ("cpu", 2)):
        run[f"speed_quartiles_{clock}"] = {"theirs": [1, 1, 1], "ours": [ratio * factor] * 3}
    return {
        "benchmark": "generation",
        "commit": "abc",
        "source": source,
        "machine": here | machine,
        "comparisons": {"a step": run},
    }


def test_a_column_for_each_processor_and_the_code_of_each(monkeypatch):
    monkeypatch.setattr(kept, "source", lambda name: "now")
    lines = kept.tables("generation", [result(), result("EPYC", 1.1)]).splitlines()
    assert lines[0] == "| times as fast as theirs | Xeon, 2 cores | EPYC, 2 cores |"
    assert lines[2:4] == ["| a step: ours | 1.50 (1.50 to 1.50) | 1.10 (1.10 to 1.10) |", ""]
    assert lines[4] == (
        "- Xeon, 2 cores: 2 threads; by the clock; 7 rounds; other programs kept 0.10 cores busy; torch 2.13; "
        "at commit abc."
    )


def test_a_column_of_older_code_is_shown_only_where_there_is_no_other(monkeypatch):
    monkeypatch.setattr(kept, "source", lambda name: "now")
    older = result("EPYC", 1.1, "then")
    lines = kept.tables("generation", [result(), older]).splitlines()
    assert lines[0] == "| times as fast as theirs | Xeon, 2 cores |"
    assert lines[2] == "| a step: ours | 1.50 (1.50 to 1.50) |"
    assert lines[5] == "- EPYC, 2 cores, older code: not shown; `results/benchmarks/generation` has it."
    alone = kept.tables("generation", [older]).splitlines()
    assert alone[0] == "| times as fast as theirs | EPYC, 2 cores, older code |"
    assert alone[-1].endswith("at commit abc; **its code has changed since**.")
    assert kept.tables("generation", []).startswith("Not measured yet")


def test_on_a_busy_machine_with_one_thread_cpu_time_counts(monkeypatch):
    monkeypatch.setattr(kept, "source", lambda name: "now")
    assert "3.00" in kept.tables("generation", [result(threads=1, others=1.2)])
    for here in ({"threads": 1, "others": 0.1}, {"threads": 2, "others": 1.2}, {"threads": 1, "others": None}):
        assert "1.50" in kept.tables("generation", [result(**here)])


def test_results_whose_code_has_changed_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    monkeypatch.setattr(kept, "source", lambda name: "now")
    (tmp_path / "generation").mkdir()
    for name, found in (("xeon", result()), ("epyc", result("EPYC", source="then"))):
        (tmp_path / "generation" / f"{name}.json").write_text(json.dumps(found))
    (told,) = kept.measured_on_older_code()
    assert told == "generation on EPYC was measured at abc; its code has changed since"


def test_a_place_for_each_table():
    with pytest.raises(ValueError, match="it needs one for each benchmark"):
        kept.with_tables("<!-- measured: generation -->\n<!-- /measured -->\n")


def test_a_run_is_kept_and_a_failed_one_leaves_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "RESULTS", tmp_path / "kept")
    monkeypatch.setattr(kept, "HERE", tmp_path)
    (tmp_path / "some.py").write_text("import sys\nopen(sys.argv[2], 'w').write(' '.join(sys.argv[3:]))\n")
    (tmp_path / "kept" / "some").mkdir(parents=True)
    assert kept.measure("some", ["--rounds", "3"])
    (file,) = (tmp_path / "kept" / "some").iterdir()
    assert file.stem == provenance.slug(provenance.machine(()))
    assert file.read_text() == "--rounds 3"
    (tmp_path / "some.py").write_text("raise SystemExit('no')")
    assert not kept.measure("some", [])
    assert file.read_text() == "--rounds 3"


def test_the_code_of_a_benchmark_is_what_it_imports(monkeypatch):
    seen = []
    monkeypatch.setattr(provenance, "digest_of", lambda *parts: seen.append(parts[::2]))
    for name in ("generation", "kernels", "grading"):
        provenance.source(name)
    generation, kernels, grading = seen
    assert {"benchmarks/generation.py", "benchmarks/side_by_side.py", "course_lib/nn/cache.py"} <= set(generation)
    assert "course_lib/infer/generation/decode_step.py" in generation
    assert "course_lib/infer/generation/decode_step.py" not in kernels
    assert {"course_lib/grader/sandbox.py", "course_lib/exercises/ch01_attention/softmax.py"} <= set(grading)
    assert not any(file.startswith(("course_lib/grader", "course_lib/show")) for file in generation)


def test_comments_docstrings_and_blank_lines_are_no_code():
    said = '"""A module."""\n\n# why\nx = "# no comment"  # why\n\n\nclass A:\n    """Two\n    lines."""\n\n    y = 1\n'
    assert provenance.code_alone(said) == 'x = "# no comment"\nclass A:\n    y = 1'
    assert provenance.code_alone(said.replace("y = 1", "y = 2")) != provenance.code_alone(said)


def test_others_at_work_are_told_from_this_process(monkeypatch):
    times = iter([(0.0, 100.0, 5.0), (10.0, 118.0, 14.0)])
    monkeypatch.setattr(provenance.Watch, "_read", staticmethod(lambda: next(times)))
    assert provenance.Watch().others() == 0.9


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (
            "model name : Intel(R) Xeon(R) Processor\nflags : sse avx2 avx512f amx_tile",
            "Intel Xeon with AVX-512 and AMX",
        ),
        ("model name : AMD EPYC 7763 64-Core Processor\nflags : sse avx2", "AMD EPYC 7763 64-Core with AVX2"),
        ("model name : Something", "Something"),
    ],
)
def test_the_kind_of_a_processor(lines, kind, monkeypatch):
    monkeypatch.setattr(provenance.Path, "read_text", lambda self, encoding: lines)
    assert provenance.processor() == kind
    assert provenance.slug({"processor": "AMD EPYC 7763 with AVX2", "cores": 2}) == "amd-epyc-7763-with-avx2-2-cores"


def test_an_estimate_is_held_against_the_run(tmp_path, capsys, monkeypatch):
    import estimate
    import tiny_recipes

    from course_lib.recipes import estimate as costs

    tiny_recipes.small_text(monkeypatch, tmp_path)
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
