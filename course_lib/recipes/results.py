"""The results of a run: the file results.json, and where its numbers come from."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

import course_lib
from course_lib.checkout import commit_of
from course_lib.files import read_json, write_text
from course_lib.measure import device_name
from course_lib.recipes.run import RecipeError, Run
from course_lib.train import read_metrics


@dataclass(frozen=True)
class Provenance:
    """The provenance of a run's results.

    Attributes:
        command: The command that repeats the run.
        commit: The commit of the checkout, with a plus if files differed from it; "none" outside a checkout.
        versions: The versions of Python and of the libraries that affect the results.
        seconds: Wall-clock time of all training steps together, in seconds; None if the recipe logs none.
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
    """The results of a run.

    Attributes:
        values: The numbers, by key.
        controls: For each claim, the key of the control that could have refuted it.
        samples: What the model was given, and what it wrote.
    """

    provenance: Provenance
    values: dict[str, float]
    controls: dict[str, str]
    samples: list[list[str]] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Write the results to a JSON file."""
        write_text(file, json.dumps(asdict(self), indent=1) + "\n")


def write_results(
    run: Run, values: Mapping[str, float], controls: Mapping[str, str], samples: Iterable[tuple[str, str]] = ()
) -> Results:
    """Write results.json into the folder of a finished run, and return its content; an estimate writes nothing."""
    noted = [line for file in run.out.rglob("metrics.jsonl") for line in read_metrics(file)]
    provenance = Provenance(
        recipe=run.recipe,
        preset=run.preset,
        seed=run.seed,
        command=f"course train {run.arguments}",
        commit=commit_of(Path(course_lib.__file__).parent),
        device=device_name(run.device),
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        seconds=round(sum(line.get("seconds", 0) for line in noted), 1) if noted else None,
    )
    results = Results(provenance, dict(values), dict(controls), [list(sample) for sample in samples])
    if not run.estimating:
        results.write(run.out / "results.json")
    return results


def read_results(file: Path) -> Results:
    """Read a results.json.

    Raises:
        RecipeError: If the file does not exist, lacks fields, or has no finite number for a value or a control.
        DataError: If the file is damaged.
    """
    if not file.is_file():
        raise RecipeError(f"{file.parent} has no {file.name}: no run of `course train` has ended there")
    content = read_json(file)
    try:
        results = Results(
            Provenance(**content["provenance"]), content["values"], content["controls"], content.get("samples", [])
        )
        unusable = [key for key, value in results.values.items() if not math.isfinite(value)]
        unusable += set(results.controls.values()) - results.values.keys()
    except (KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{file} is not what `course train` writes ({error}); run the recipe again") from None
    if unusable:
        raise RecipeError(f"{file} holds no number for {', '.join(unusable)}; run the recipe again")
    return results
