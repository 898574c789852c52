"""What a recipe leaves behind: results.json, with where every number came from, and how it gets into `results/`."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import course_lib
from course_lib.errors import CourseError
from course_lib.files import write_text
from course_lib.measure import device_name, preset
from course_lib.site.paths import SiteError, find_project
from course_lib.train import read_metrics

FIELDS = {"key", "value", "control", "recipe", "preset", "seed", "device", "commit", "command", "versions", "seconds"}


class RecipeError(CourseError):
    """A recipe cannot be run, or its results not kept, as asked; the message says what to do."""


class Stopped(KeyboardInterrupt):
    """The reader stopped a run that is kept, and has been told how to go on with it."""


def command(recipe: str, seed: int, steps: int | None, out: Path) -> str:
    """What to type to go on with this run."""
    program, name = "course", Path(sys.argv[0]).name
    if name == "__main__.py":
        program = "python -m course_lib"
    elif name == "course" and shutil.which("course") is None:
        program = shlex.quote(sys.argv[0])  # as it was called, since the bare name would not be found
    return f"{program} train {_run(recipe, seed, steps)} --out {shlex.quote(str(out))} --resume"


def claim(out: Path, recipe: str, seed: int, steps: int | None, plan: object) -> str:
    """Make the folder of a run, and note in it what the run is; what to type to go on with it.

    plan: all that decides about the numbers; its repr is kept. Raises RecipeError for a folder that is in use, unless
    by the very same run; whether that may go on is for the folders of its stages to say (course_lib.train.RunFolder).
    """
    again = command(recipe, seed, steps, out)
    this = {"run": _run(recipe, seed, steps), "plan": repr(plan)}
    note = out / "recipe.json"
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out} is a file; name a folder with --out")
    if out.exists() and any(out.iterdir()):
        if not note.exists():
            raise RecipeError(f"{out} is in use, and not by a run of the course; name another folder with --out")
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
            run, sizes = before["run"], before["plan"]
        except (ValueError, KeyError, TypeError):
            raise RecipeError(f"{note} is damaged; begin anew, in another folder, with --out") from None
        if run != this["run"]:
            raise RecipeError(f"{out} holds another run ({run}); ask for the same, or name another folder with --out")
        if sizes != this["plan"]:
            raise RecipeError(f"{out} holds a run of other sizes, from before they changed; name another with --out")
    out.mkdir(parents=True, exist_ok=True)
    write_text(note, json.dumps(this, indent=1) + "\n")
    return again


def _run(recipe: str, seed: int, steps: int | None) -> str:
    return f"{recipe} --preset {preset()} --seed {seed}" + (f" --steps {steps}" if steps else "")


def write(
    out: Path, recipe: str, values: Mapping[str, float], seed: int, steps: int | None, controls: Mapping[str, str] = {}
) -> dict[str, float]:
    """Write out/results.json: each number with preset, seed, device, versions, commit and the command that made it.

    controls: for the key of a claim that of the number to hold it against. `seconds` in the file are those of all
    training steps, by the clock, or null where a recipe notes none. Returns the numbers.
    """
    steps_noted = [line for file in out.rglob("metrics.jsonl") for line in read_metrics(file)]
    made_by: dict[str, Any] = {
        "recipe": recipe,
        "preset": preset(),
        "seed": seed,
        "device": device_name(),
        "commit": commit(),
        "command": f"course train {_run(recipe, seed, steps)}",
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in ("torch", "numpy")}},
        "seconds": round(sum(line.get("seconds", 0) for line in steps_noted), 1) if steps_noted else None,
    }
    records: dict[str, Any] = {}
    for key, value in values.items():
        control = {"key": controls[key], "value": values[controls[key]]} if key in controls else None
        records[key] = {"key": key, "value": value, "control": control, **made_by}
    write_text(out / "results.json", json.dumps(records, indent=1) + "\n")
    return dict(values)


def add(out: Path) -> Path:
    """Copy a finished run's results.json into the checkout's `results/`; the file there.

    Raises RecipeError for a folder without results, or with ones that say too little about themselves, are not those
    of the whole preset, or no numbers.
    """
    file = out / "results.json"
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{out} has no results.json: no run of `course train` has ended there") from None
    except ValueError as error:
        raise RecipeError(f"{file} is damaged ({error}); run the recipe again") from None
    if not isinstance(records, dict) or not records:
        raise RecipeError(f"{file} holds no results; run the recipe again")
    runs = set()
    for key, record in records.items():
        missing = sorted(FIELDS - set(record)) if isinstance(record, dict) else sorted(FIELDS)
        if missing:
            raise RecipeError(f"{key} in {file} does not say its {', '.join(missing)}; run the recipe again")
        if isinstance(record["value"], bool) or not isinstance(record["value"], int | float):
            raise RecipeError(f"{key} in {file} is not a number; run the recipe again")
        if not math.isfinite(record["value"]) or record["key"] != key:
            raise RecipeError(f"{key} in {file} is not what it should be; run the recipe again")
        runs.add((record["recipe"], record["preset"], record["seed"], record["command"]))
    if len(runs) > 1:
        raise RecipeError(f"{file} holds the results of several runs; run the recipe again")
    recipe, size, seed, made_by = runs.pop()
    if not str(recipe).replace("-", "").isalpha() or size not in ("cpu", "gpu") or not isinstance(seed, int):
        raise RecipeError(f"{file} names no recipe, preset and seed of the course; run the recipe again")
    if "--steps" in made_by:
        raise RecipeError(f"{out} is no run of the whole preset; run it without --steps to keep its results")
    place = find_project().root / "results" / size / f"{recipe}-seed{seed}.json"
    write_text(place, json.dumps(records, indent=1, sort_keys=True) + "\n")
    return place


def commit() -> str:
    """The commit of the checkout that runs, with a plus when files differ from it; "none" outside a checkout."""
    try:
        return find_project(Path(course_lib.__file__).parent).commit()
    except SiteError:
        return "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
