"""The benchmarks: fair turns and right ratios; each script runs, at a small size, to its end."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import side_by_side as bench  # noqa: E402


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
    text = bench.table("Title", timings, "b", 8.0, "MB")
    assert text.splitlines()[2].split() == ["a", "3.000", "1.000", "2.667", "4.00", "(2.04", "..", "5.33)"]
    assert bench.record(timings, "b", 8.0, "MB")["wall"]["a"] == [1, 100, 3]


def test_no_comparison():
    with pytest.raises(ValueError, match="0 contestants and 7 rounds make no comparison"):
        bench.side_by_side({})
    with pytest.raises(ValueError, match="1 contestants and 0 rounds"):
        bench.side_by_side({"a": list}, rounds=0)


def test_the_tokenizer_benchmark_runs(tmp_path):
    small = ["--articles", "60", "--vocab-size", "400", "--rounds", "2", "--json", str(tmp_path / "times.json")]
    command = [sys.executable, str(BENCHMARKS / "tokenizer.py"), *small]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("times as fast as tokenizers") == 3
    times = json.loads((tmp_path / "times.json").read_text())
    assert len(times["training"]["wall"]["course_lib.data.bpe"]) == 2


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_begins_with_the_command_that_runs_it(path):
    text = path.read_text()
    if "__main__" in text:
        assert text.startswith(f"# .venv/bin/python benchmarks/{path.name}")
