"""`course train` and `course data prepare`: what is asked for, checked, run and summed up."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from course_lib.errors import CourseError
from course_lib.measure import device, device_name, preset
from course_lib.recipes import RECIPES, language
from course_lib.recipes.outcome import RecipeError, Stopped, command
from course_lib.train import TrainingDiverged


def start(recipe: str, size: str | None, steps: int | None, seed: int, out: Path | None, resume: bool) -> None:
    """Run a recipe at a preset's size and print its numbers. Raises RecipeError, or another CourseError."""
    if recipe not in RECIPES:
        raise RecipeError(f"there is no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
    if size not in (None, "cpu", "gpu"):
        raise RecipeError(f"there is no preset {size!r}; use --preset cpu or --preset gpu")
    if size:
        os.environ["COURSE_PRESET"] = size
    try:
        chosen = preset()
        where = device()
    except ValueError as error:
        raise RecipeError(str(error)) from None
    except RuntimeError:
        raise RecipeError("the preset gpu needs an accelerator, and torch sees none; use --preset cpu") from None
    out = out or Path("runs") / f"{recipe}-{chosen}-seed{seed}"
    if chosen == "cpu":  # models this small gain little from a second core, and the bits depend on how many there are
        torch.set_num_threads(1)
    again = command(recipe, seed, steps, out)
    print(f"{recipe}: preset {chosen}, seed {seed}, on {device_name()}, into {out}", flush=True)
    try:
        values = RECIPES[recipe](out, seed=seed, steps=steps, resume=resume)
    except Stopped:
        raise
    except KeyboardInterrupt:
        print(f"{recipe}: stopped; to go on, run: {again}", flush=True)
        raise
    except TrainingDiverged as error:
        raise RecipeError(f"{error} What was kept before it is in {out}") from None
    except CourseError:
        raise
    except ModuleNotFoundError as error:
        raise _missing(recipe, error) from None
    except OSError as error:
        way = "make room there, and" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another with --out, or"
        raise RecipeError(f"{out} cannot be written to ({error}); {way} go on with: {again}") from None
    except (RuntimeError, MemoryError) as error:
        if not _no_memory(error):
            raise
        way = "use --preset cpu, or a machine with more" if chosen == "gpu" else "use a machine with more"
        raise RecipeError(
            f"the preset {chosen} does not fit into the memory of {where}; close what else takes memory, and go on "
            f"with: {again} ; or {way}"
        ) from None
    print(table(values, json.loads((out / "results.json").read_text(encoding="utf-8"))))
    print(f"The model is in {out / 'model'}, the numbers with their origin in {out / 'results.json'}.")
    print(f"This took {time.process_time():.0f} seconds of the processor.")


def table(values: Mapping[str, float], records: Mapping[str, Any]) -> str:
    """The numbers in aligned lines, the same measure of several models together, and what each is held against."""
    measures = list(dict.fromkeys(key.rpartition(".")[2] for key in values))
    ordered = sorted(values, key=lambda key: measures.index(key.rpartition(".")[2]))
    texts = [f"{values[key]:,.0f}" if abs(values[key]) >= 1000 else f"{values[key]:.4g}" for key in ordered]
    widths = max(map(len, ordered)), max(map(len, texts))
    controls = [(records[key]["control"] or {}).get("key") for key in ordered]
    return "\n".join(
        f"  {key:{widths[0]}}  {text:>{widths[1]}}" + (f"   control: {control}" if control else "")
        for key, text, control in zip(ordered, texts, controls, strict=True)
    )


def prepare() -> None:
    """Make all files that the recipes read, for both presets, and say which they are."""
    files = language.prepare()
    try:
        from course_lib.recipes.vision_text import prepare as pictures
    except ModuleNotFoundError as error:
        raise _missing("vision-text", error) from None
    files += pictures()
    print("Everything that `course train` reads is in these files:")
    for file in files:
        print(f"  {file}  ({file.stat().st_size / 1e6:.1f} MB)")
    print(
        "On a machine without network, put them into one folder, set COURSE_CACHE to it, and run `course train` there, "
        "or, where the course is a copied folder, `python -m course_lib train` in it."
    )


def _missing(recipe: str, error: ModuleNotFoundError) -> RecipeError:
    needs = f"{recipe} needs {error.name}, which is not installed"
    return RecipeError(f"{needs}; install the course with its extra `vision`")


def _no_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
