# .venv/bin/python benchmarks/kept.py [BENCHMARK ...]        (make bench: all; --tables runs none)
"""Runs the benchmarks, keeps what they measured in results/benchmarks, and makes the tables of README.md from that.

A ratio belongs to a processor and to the code that it was measured on. So there is a file for each benchmark on each
kind of processor, with the machine, the commit and the hash of the code. The tables have a column for each kind of
processor that was measured on the code of this checkout. The others are named below; if there are no such columns, the
others are shown, and said to be of older code.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provenance import machine, slug, source

from course_lib.files import write_text

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
RESULTS = HERE.parent / "results" / "benchmarks"
BENCHMARKS = (
    "pretrain_step",
    "moe_step",
    "vlm_step",
    "lora_step",
    "generation",
    "quantized",
    "forward",
    "kernels",
    "tokenizer",
    "grading",
)
BUSY = 0.25  # cores that others kept busy: from here on the clock says little
Result = dict[str, Any]


def main() -> None:
    """Run what the command line names, and write the tables again."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"of {', '.join(BENCHMARKS)}; or all")
    options.add_argument("--tables", action="store_true", help="run nothing; write the tables of what is kept")
    options.add_argument("--rounds", type=int, default=5, help="turns that each side is measured in")
    asked = options.parse_args()
    others = [f"--rounds={asked.rounds}"]
    if strange := set(asked.benchmarks) - set(BENCHMARKS):
        options.error(f"there is no benchmark {', '.join(sorted(strange))}; the names are {', '.join(BENCHMARKS)}")
    failed = []
    for name in () if asked.tables else asked.benchmarks or BENCHMARKS:
        if not measure(name, others):
            failed.append(name)
    write_text(README, with_tables(README.read_text(encoding="utf8")))
    for line in measured_on_older_code():
        print(line)
    if failed:
        raise SystemExit(f"{', '.join(failed)} failed, as said above; what was measured before is kept")


def measure(name: str, options: Sequence[str]) -> bool:
    """Run a benchmark in a process of its own, and keep what it measured; if it fails, the file stays as it was.

    Returns:
        Whether it ran to its end.
    """
    file = RESULTS / name / f"{slug(machine(()))}.json"
    print(f"\n{name}, from {time.strftime('%H:%M')} on", flush=True)
    return not subprocess.run([sys.executable, HERE / f"{name}.py", "--json", file, *options]).returncode


def kept(name: str) -> list[Result]:
    """Read what is kept of a benchmark, a result for each kind of processor."""
    return [json.loads(file.read_text(encoding="utf8")) for file in sorted((RESULTS / name).glob("*.json"))]


def is_older(result: Result) -> bool:
    """Whether the code of a result has changed since."""
    return result["source"] != source(result["benchmark"])


def measured_on_older_code() -> list[str]:
    """Name each result whose code has changed since, in a sentence."""
    return [
        f"{name} on {result['machine']['processor']} was measured at {result['commit']}; its code has changed since"
        for name in BENCHMARKS
        for result in kept(name)
        if is_older(result)
    ]


def with_tables(text: str) -> str:
    """Put the tables of what is kept between the marks <!-- measured: NAME --> and <!-- /measured -->.

    Raises:
        ValueError: If a benchmark has no such place, or more than one.
    """
    names = re.findall(r"<!-- measured: (\w+) -->\n.*?<!-- /measured -->", text, re.DOTALL)
    if sorted(names) != sorted(BENCHMARKS):
        raise ValueError(f"{README.name} has places for {', '.join(names)}; it needs one for each benchmark")
    return re.sub(
        r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)",
        lambda found: f"{found[1]}{tables(found[2], kept(found[2]))}\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


def tables(name: str, results: Sequence[Result]) -> str:
    """The tables of a benchmark, with a column for each result of the code that is there, and what each is of."""
    if not results:
        return "Not measured yet: `make bench` does it.\n"
    older = [result for result in results if is_older(result)]
    if len(older) < len(results):
        results = [result for result in results if result not in older]
    else:
        older = []  # better than none
    heads = [heading(result) for result in results]
    parts = []
    for peer in dict.fromkeys(run["peer"] for result in results for run in result["comparisons"].values()):
        parts.append(table(f"times as fast as {peer}", heads, [speeds(result, peer) for result in results]))
    if more := MORE.get(name):
        parts.append(table(more[0], heads, [more[1](result) for result in results]))
    lines = [f"- {head}: {about(result)}" for head, result in zip(heads, results, strict=True)]
    lines += [f"- {heading(result)}: not shown; `results/benchmarks/{name}` has it." for result in older]
    parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def table(corner: str, heads: Sequence[str], columns: Sequence[Mapping[str, str]]) -> str:
    """A table in Markdown; each column is a mapping from rows to cells."""
    rows = dict.fromkeys(row for column in columns for row in column)
    lines = [[corner, *heads], ["---"] * (len(heads) + 1)]
    lines += [[row, *(column.get(row, "") for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def heading(result: Result) -> str:
    """What a column is called."""
    return f"{result['machine']['processor']}, {result['machine']['cores']} cores" + ", older code" * is_older(result)


def about(result: Result) -> str:
    """How, when and on what a result was measured."""
    here, others = result["machine"], result["machine"]["others"]
    said = {"processor", "cores", "threads", "others", "options"}
    parts = [
        f"{here['threads']} threads" if here["threads"] > 1 else "one thread",
        f"by {clock(result).replace('wall', 'the clock').replace('cpu', 'CPU time')}",
        f"{here['options']['rounds']} rounds",
        *([] if others is None else [f"other programs kept {others:.2f} cores busy"]),
        ", ".join(f"{package} {version}" for package, version in here.items() if package not in said and version),
        f"at commit {result['commit']}" + ("; **its code has changed since**" if is_older(result) else ""),
    ]
    return "; ".join(parts) + "."


def clock(result: Result) -> str:
    """Which of the two times counts: CPU time on a busy machine, where threads do not wait for each other."""
    here = result["machine"]
    return "cpu" if here["threads"] == 1 and (here["others"] or 0) > BUSY else "wall"


def speeds(result: Result, peer: str) -> dict[str, str]:
    """The speed of each contestant beside the peer, with its quartiles."""
    cells = {}
    for title, run in result["comparisons"].items():
        for name, (low, median, high) in run[f"speed_quartiles_{clock(result)}"].items():
            if run["peer"] == peer and name != peer:
                cells[f"{title}: {name}"] = f"{median:.2f} ({low:.2f} to {high:.2f})"
    return cells


def losses(result: Result) -> dict[str, str]:
    """The size of quantized weights, and what rounding them costs."""
    return {
        name: f"{q['megabytes']:.0f} MB, {q['difference']:+.4f} ± {q['standard error']:.4f}"
        for name, q in result["quality"].items()
    }


def memory(result: Result) -> dict[str, str]:
    """The megabytes that a training step keeps, in float32."""
    runs = {title.split(",")[0]: run["bytes"] for title, run in result["comparisons"].items()}
    return {
        f"{style}: {name}": ", ".join(f"{part} {size / 1e6:.2f}" for part, size in sizes.items())
        for style, bytes_ in runs.items()
        for name, sizes in bytes_.items()
    }


def seconds(result: Result) -> dict[str, str]:
    """The seconds that grading takes."""
    found = {
        f"{name}, in a class of {result['submissions']}": f"{statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f})"
        for name, s in result["seconds_per_submission"].items()
    }
    if large := result.get("class"):
        n = large["submissions"]
        found[f"course grade, in a class of {n}"] = f"{large['seconds'] / n:.2f}"
    return found


MORE = {
    "quantized": ("weights, and nats a token more than float32", losses),
    "lora_step": ("MB that a step keeps", memory),
    "grading": ("seconds a submission (least to most)", seconds),
}


if __name__ == "__main__":
    main()
