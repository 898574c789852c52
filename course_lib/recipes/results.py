"""What a run measured: the file results.json, where its numbers come from, and how it gets into `results/`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import course_lib
from course_lib.checkout import NoCheckout, commit_of, find_checkout
from course_lib.files import write_text
from course_lib.measure import device_name
from course_lib.recipes.run import RecipeError, Run
from course_lib.train import read_metrics


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of a run come from.

    Args:
        command: What repeats the run.
        commit: Of the checkout that ran, with a plus when files differed from it; "none" outside a checkout.
        versions: Of Python and the libraries that decide about the numbers.
        seconds: Of all training steps together, by the clock; None where a recipe notes none.
    """

    recipe: str
    preset: str
    seed: int
    command: str
    commit: str
    device: str
    versions: dict[str, str]
    seconds: float | None


@dataclass(frozen=True)
class Results:
    """The numbers of a run by key, and for each claim among them the key of the number that could have refuted it."""

    provenance: Provenance
    values: dict[str, float]
    controls: dict[str, str]

    def to_json(self) -> str:
        """The text of results.json: the provenance once, then a line for each number."""
        lines = []
        for key, value in self.values.items():
            number = {"value": value, "control": self.controls[key]} if key in self.controls else {"value": value}
            lines.append(f"  {json.dumps(key)}: {json.dumps(number)}")
        provenance = json.dumps(asdict(self.provenance), indent=1).replace("\n", "\n ")
        return f'{{\n "provenance": {provenance},\n "numbers": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def write_results(run: Run, values: Mapping[str, float], controls: Mapping[str, str]) -> Results:
    """Write results.json into the folder of a run that has ended, and return what it says."""
    noted = [line for file in run.out.rglob("metrics.jsonl") for line in read_metrics(file)]
    provenance = Provenance(
        recipe=run.recipe,
        preset=run.preset,
        seed=run.seed,
        command=f"course train {run.arguments}",
        commit=_commit(),
        device=device_name(run.preset),
        versions={"python": sys.version.split()[0], **{name: _version(name) for name in ("torch", "numpy")}},
        seconds=round(sum(line.get("seconds", 0) for line in noted), 1) if noted else None,
    )
    results = Results(provenance, dict(values), dict(controls))
    write_text(run.out / "results.json", results.to_json())
    return results


def read_results(file: Path) -> Results:
    """Read a results.json.

    Raises:
        RecipeError: It is not there or damaged, says too little about itself, or holds what is not a number.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{file.parent} has no {file.name}: no run of `course train` has ended there") from None
    except ValueError as error:
        raise RecipeError(f"{file} is damaged ({error}); run the recipe again") from None
    numbers = content.get("numbers") if isinstance(content, dict) else None
    if not isinstance(numbers, dict) or not numbers:
        raise RecipeError(f"{file} holds no results; run the recipe again")
    values, controls = {}, {}
    for key, number in numbers.items():
        values[key] = _number(file, key, number)
        if "control" in number:
            controls[key] = number["control"]
    if strange := sorted(set(controls.values()) - values.keys()):
        raise RecipeError(f"{file} names controls that it does not hold ({', '.join(strange)}); run the recipe again")
    return Results(_provenance(file, content.get("provenance")), values, controls)


def _number(file: Path, key: str, number: Any) -> float:
    value = number.get("value") if isinstance(number, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{key} in {file} is not a number; run the recipe again")
    if not math.isfinite(value):
        raise RecipeError(f"{key} in {file} is not what it should be; run the recipe again")
    return value


def _provenance(file: Path, found: Any) -> Provenance:
    names = {field.name for field in fields(Provenance)}
    missing = names - found.keys() if isinstance(found, dict) else names
    if missing:
        raise RecipeError(f"{file} does not say its {', '.join(sorted(missing))}; run the recipe again")
    return Provenance(**{name: found[name] for name in names})


def keep_results(out: Path) -> Path:
    """Copy a finished run's results.json into the checkout's `results/`.

    Returns:
        The file there.

    Raises:
        RecipeError: There are no results, or not those of a whole preset.
    """
    results = read_results(out / "results.json")
    made = results.provenance
    named = str(made.recipe).replace("-", "").isalpha() and made.preset in ("cpu", "gpu")
    if not named or not isinstance(made.seed, int):
        raise RecipeError(f"{out} names no recipe, preset and seed of the course; run the recipe again")
    if "--steps" in made.command:
        raise RecipeError(f"{out} is no run of the whole preset; run it without --steps to keep its results")
    place = find_checkout() / "results" / made.preset / f"{made.recipe}-seed{made.seed}.json"
    write_text(place, results.to_json())
    return place


def _commit() -> str:
    try:
        return commit_of(find_checkout(Path(course_lib.__file__).parent))
    except NoCheckout:
        return "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
