"""The committed measurements in `results/`, for labs that compare a part of a sweep with the whole of it."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

from course_lib.errors import DataError
from course_lib.preset import preset


def committed_run(recipe: str, seed: int = 0, size: str | None = None) -> dict[str, float]:
    """Return the numbers of a committed run by key, such as "peft.sweep.base.b" of the recipe "peft".

    They are read from the checkout, or from the data folder of an installed package.

    Args:
        recipe: A recipe of `course train`.
        seed: The seed of the run.
        size: The preset, "cpu" or "gpu"; by default the current one.

    Raises:
        DataError: If the run has not been committed.
    """
    size = size or preset()
    try:
        file = committed_file(f"{size}/{recipe}-seed{seed}.json")
    except DataError as error:
        command = f"course train {recipe} --preset {size} --seed {seed}"
        raise DataError(f"{error}: run `{command}`, then `course results add` with its folder") from None
    return json.loads(file.read_text(encoding="utf-8"))["values"]


def committed_file(name: str) -> Path:
    """Return the path of a committed file, such as "cpu/peft-seed0.json".

    Raises:
        DataError: If there is none.
    """
    checkout = Path(__file__).resolve().parents[2] / "results"
    for folder in (checkout, Path(sysconfig.get_path("data")) / "share" / "course" / "results"):
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"there is no results/{name}")
