"""The bands of the labs' numbers, apart from the labs, so that no cell tells a reader what will come out.

The folder `expected` has a table for each lab, named by the first word of its keys. It holds the band of each number,
`[low, high]` or `{cpu = [low, high], gpu = [low, high]}`, under the whole key in quotes. Parts may follow:

- `[lead]`, where a claim compares two runs of the same seed: the band of the number less its control;
- `[mean]`, where single runs differ so much that a claim is about many, or a number is the same on every seed: the band
  of the mean over the seeds of a replication, which `course replicate --check` judges, and no lab;
- `[descriptive]`, numbers that a page cites and no sentence claims anything of: what each is, in place of a band.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

Band = tuple[float, float]  # lowest and highest value that the claim allows, both included
PARTS = ("lead", "mean", "descriptive")
Bands = Band | Mapping[str, Band]  # one for every preset, or {"cpu": (lo, hi), "gpu": (lo, hi)}


def band_of(key: str, given: Bands | None = None) -> Bands | None:
    """Return the band of a number: the one that its lab gives, or else that in the table; None if there is none.

    Raises:
        ValueError: If both give one.
    """
    kept = table(key.partition(".")[0]).get(key)
    if kept is not None and given is not None:
        raise ValueError(f"{key} has a band in course_lib/measure/expected already: give record() none")
    return given if kept is None else kept


def lead_of(key: str) -> Bands | None:
    """Return the band of a number less its control on the same seed; None if there is none."""
    return leads(key.partition(".")[0]).get(key)


def table(prefix: str) -> dict[str, Bands]:
    """Read the bands of all numbers whose keys begin with a word; empty if there is no such table."""
    return {key: _as_bands(band) for key, band in _read(prefix).items() if key not in PARTS}


def leads(prefix: str) -> dict[str, Bands]:
    """Read the bands of all numbers less their controls, of the keys that begin with a word."""
    return {key: _as_bands(band) for key, band in _read(prefix).get("lead", {}).items()}


def means(prefix: str) -> dict[str, Bands]:
    """Read the bands of the means over the seeds of a replication, of the keys that begin with a word."""
    return {key: _as_bands(band) for key, band in _read(prefix).get("mean", {}).items()}


def descriptive(prefix: str) -> dict[str, str]:
    """Read what the numbers without a band describe, of the keys that begin with a word."""
    return dict(_read(prefix).get("descriptive", {}))


def _as_bands(found: Any) -> Bands:
    """Return a band or a table of bands as TOML gives it, in lists, as what it is called."""
    if isinstance(found, dict):
        return {size: _as_band(ends) for size, ends in found.items()}
    return _as_band(found)


def _as_band(ends: Any) -> Band:
    low, high = ends
    return float(low), float(high)


@functools.cache
def _read(prefix: str) -> dict[str, Any]:
    file = files("course_lib.measure").joinpath("expected", f"{prefix}.toml")
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
