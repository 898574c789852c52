# .venv/bin/python benchmarks/estimate.py moe     (or gpt, vision-text: trains for minutes; --json FILE keeps the times)
"""The time that `course train --estimate` gives, against the time that the training then takes, stage by stage."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from side_by_side import begin, write

from course_lib.recipes.command import RECIPES
from course_lib.recipes.run import Run
from course_lib.train import read_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=("gpt", "moe", "vision-text"))
    parser.add_argument("--steps", type=int, help="steps of each stage, in place of the preset's own")
    parser.add_argument("--json", type=Path, help="where to keep the times")
    asked = parser.parse_args()
    about = begin("torch")
    torch.set_num_threads(1)  # as `course train --preset cpu`
    estimate = Run(asked.recipe, Path("unused"), steps=asked.steps, preset="cpu", estimating=True)
    RECIPES[asked.recipe](estimate)
    with tempfile.TemporaryDirectory() as folder:
        RECIPES[asked.recipe](Run(asked.recipe, Path(folder), steps=asked.steps, preset="cpu"))
        stages = sorted(Path(folder).rglob("metrics.jsonl"), key=lambda file: file.stat().st_mtime)
        took = [sum(line.get("seconds", 0) for line in read_metrics(file)) for file in stages]
    foreseen = [cost.steps * (cost.seconds or 0) for cost in estimate.costs]
    print("stage, seconds estimated, seconds measured, ratio")
    for cost, one, other in zip(estimate.costs, foreseen, took, strict=True):
        print(f"{cost.name:24} {one:8.1f} {other:8.1f} {one / other:6.2f}")
    print(f"{'all':24} {sum(foreseen):8.1f} {sum(took):8.1f} {sum(foreseen) / sum(took):6.2f}")
    names = [cost.name for cost in estimate.costs]
    times = {"estimated": foreseen, "measured": took}
    kept = {kind: dict(zip(names, seconds, strict=True)) for kind, seconds in times.items()}
    write(asked, about, {}, **kept)


if __name__ == "__main__":
    main()
