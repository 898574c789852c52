"""The replications of labs in `results/replications/`: each number on every seed, its band, and complaints about it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from nbformat import NotebookNode

from course_lib.files import read_json, write_text
from course_lib.measure import t_interval
from course_lib.measure.bands import Band, means
from course_lib.preset import Preset, preset
from course_lib.site import cache
from course_lib.site.paths import Project, SiteError
from course_lib.site.records import Records

Number = dict[str, Any]  # values, mean, interval, band, in_band, control, is_control, and lead where one is judged
Replication = dict[str, Any]  # provenance, seeds, numbers
SAME = 1e-6  # relative: what differs by less is one value, written down with other digits


def path(project: Project, lab: str, size: str | None = None) -> Path:
    """Return the path of a lab's committed replication, by default that of the current preset."""
    folder = project.root / "results" / cache.REPLICATIONS
    return (folder if (size or preset()) == "cpu" else folder / "gpu") / f"{lab}.json"


def read(project: Project, lab: str, size: str | None = None) -> Replication | None:
    """Read a lab's committed replication, or return None if there is none.

    Raises:
        DataError: If the file is damaged.
        SiteError: If it is not what `course replicate` writes.
    """
    file = path(project, lab, size)
    if not file.is_file():
        return None
    found = read_json(file)
    try:
        lengths = {len(number["values"]) for number in found["numbers"].values()}
        whole = lengths <= {len(found["seeds"])} and isinstance(found["provenance"]["source"], str)
        whole = whole and all({"mean", "interval", "band", "control"} <= n.keys() for n in found["numbers"].values())
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        name = file.relative_to(project.root)
        raise SiteError(f"{name} is not what `course replicate` writes: run `course replicate {lab}` again")
    return found


def write(project: Project, replication: Replication) -> Path:
    """Write the replication of a lab into `results/replications/`, completely or not at all; return its path."""
    file = path(project, replication["provenance"]["lab"])
    # Each list on one line, so that git shows a number that changed as one line.
    text = re.sub(
        r"\[\s+([^][{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(replication, indent=1)
    )
    write_text(file, text + "\n")
    return file


def assemble(provenance: Mapping[str, Any], runs: Mapping[int, Records]) -> Replication:
    """Assemble the records of all runs of a lab, by course seed, to its replication."""
    keys = dict.fromkeys(key for records in runs.values() for key in records)
    numbers = {key: _number([records.get(key) for records in runs.values()]) for key in keys}
    return {"provenance": dict(provenance), "seeds": list(runs), "numbers": numbers}


def _number(records: Sequence[Mapping[str, Any] | None]) -> Number:
    """Return what is known about a number; None stands for a run that did not record it."""
    recorded = [record for record in records if record is not None]
    first, values = recorded[0], [None if record is None else record["value"] for record in records]
    bands = [first["band"] if record is None else record["band"] for record in records]
    number: Number = {"values": values, **average(values), "band": first["band"]}
    if any(band != first["band"] for band in bands):
        number["bands"] = bands  # as where it is drawn around another number of the same run
    number["in_band"] = in_band(number)
    number["control"] = first["control"] and first["control"]["key"]
    number["is_control"] = "control_of" in first
    if lead := first.get("lead"):
        number["lead"] = lead["band"]
    return number


def renew(replication: Replication, first: Records, then: Records | None = None) -> str | None:
    """Take over bands and controls from a new run on the first seed, if its numbers are those of the replication.

    A number whose key ends in "-per-second" or "-years" comes from a clock, and may be another on each run. Others may
    differ by rounding, as where the same sum is written in another way.

    Args:
        replication: The replication, which is changed.
        first: The records of the new run.
        then: Those of a run of the replicated code on the same machine, to be compared in place of the replication's
            numbers, which another processor may have made. The numbers of the replication stay as they are.

    Returns:
        What differs, as a sentence; nothing has then been changed.
    """
    numbers = replication["numbers"]
    before = {key: number["values"][0] for key, number in numbers.items()}
    if then is not None:
        before = {key: record["value"] for key, record in then.items() if key in before}
    now = {key: record["value"] for key, record in first.items()}
    for key in sorted(before.keys() | now.keys()):
        by_clock = key.endswith(("-per-second", "-years")) and key in before and key in now
        if key not in before or not (by_clock or _same(before[key], now.get(key))):
            return f"on seed {replication['seeds'][0]} {key} is now {now.get(key)}, not {before.get(key)}"
        if key in first and "bands" in numbers[key] and first[key]["band"] != numbers[key]["band"]:
            return f"the band of {key} is another on each seed"
    for key, record in first.items():
        number = numbers[key]
        number |= {"band": record["band"], "control": record["control"] and record["control"]["key"]}
        number |= {"in_band": in_band(number), "is_control": "control_of" in record}
        number.pop("lead", None)
        if lead := record.get("lead"):
            number["lead"] = lead["band"]
    return None


def _same(value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return value is other
    # Below a millionth, two numbers are what rounding left of 0, as where two ways to compute the same are compared.
    return math.isclose(value, other, rel_tol=SAME) or max(abs(value), abs(other)) < SAME


def average(values: Sequence[float | None]) -> dict[str, Any]:
    """Return the mean of all finite values and its 95% interval, which is None where all are equal."""
    finite = [value for value in values if value is not None]
    if len(set(finite)) < 2:
        return {"mean": finite[0] if finite else None, "interval": None}
    return {"mean": fmean(finite), "interval": list(t_interval(finite))}


def in_band(number: Number) -> list[bool] | None:
    """Return for each seed whether the value lay in the band, None for a number without; no value lies in none."""
    bands = number.get("bands") or [number["band"]] * len(number["values"])
    if None in bands:
        return None
    return [lies_in(value, band) for value, band in zip(number["values"], bands, strict=True)]


def lies_in(value: float | None, band: Sequence[float | None]) -> bool:
    """Return whether a value lies in a band, both ends included; an end of None is no limit."""
    low, high = band
    return value is not None and (low is None or low <= value) and (high is None or value <= high)


def complaints(replication: Replication) -> Iterator[str]:
    """Yield a sentence for each band that does not hold on all seeds, lets the control pass or judges nothing."""
    numbers, seeds = replication["numbers"], replication["seeds"]
    for key, number in numbers.items():
        control = numbers.get(number["control"])
        if "lead" in number:
            yield from _lead_complaints(key, number, numbers[number["control"]], seeds)
        if band := mean_band(key, replication["provenance"].get("preset", "cpu")):
            yield from _mean_complaints(key, number, control, band)
        held = in_band(number)
        if held is None:
            continue
        if out := [i for i, holds in enumerate(held) if not holds]:
            yield _out_of_band(key, number, seeds, out)
        if control and control["mean"] is not None and lies_in(control["mean"], number["band"]):
            yield (
                f"{key}: its control would pass, since {number['control']} has the mean {control['mean']:.4g} and the "
                f"band is {span(number['band'])}"
            )
        if replication["provenance"]["reads_results"] and "bands" not in number and _judges_nothing(number):
            yield (
                f"{key}: {number['values'][0]:.6g} on every seed, in a lab that reads committed results; if it comes "
                f"from these, a band of {span(number['band'])} judges nothing: record it without a band"
            )


def _lead_complaints(key: str, number: Number, control: Number, seeds: Sequence[int]) -> Iterator[str]:
    """Yield what is wrong with the band of a number less its control, two runs of the same seed."""
    pairs = list(zip(number["values"], control["values"], strict=True))
    lead = {"values": [None if None in pair else pair[0] - pair[1] for pair in pairs], "band": number["lead"]}
    name = f"{key} - {number['control']}"
    if out := [i for i, value in enumerate(lead["values"]) if not lies_in(value, lead["band"])]:
        yield _out_of_band(name, lead, seeds, out)
    if lies_in(0.0, lead["band"]):
        yield f"{name}: its control would pass, since its band of {span(lead['band'])} allows no difference"


def mean_band(key: str, size: Preset) -> Band | None:
    """Return the band of a number's mean over the seeds, in a preset; None if there is none."""
    found = means(key.partition(".")[0]).get(key)
    return found.get(size) if isinstance(found, Mapping) else found


def _mean_complaints(key: str, number: Number, control: Number | None, band: Band) -> Iterator[str]:
    """Yield what is wrong with the band of a mean over the seeds."""
    name, n = f"the mean of {key}", len(number["values"])
    if not lies_in(number["mean"], band):
        yield f"{name}: its band of {span(band)} does not hold: {number['mean']:.4g} over {n} seeds"
    if control and lies_in(control["mean"], band):
        yield (
            f"{name}: its control would pass, since {number['control']} has the mean {control['mean']:.4g} and the "
            f"band is {span(band)}"
        )


def _out_of_band(key: str, number: Number, seeds: Sequence[int], out: Sequence[int]) -> str:
    """Return the complaint about a number whose values at the places `out` are not in the band."""
    values = ["no finite number" if (value := number["values"][i]) is None else f"{value:.4g}" for i in out]
    where = ", ".join(f"{value} on seed {seeds[i]}" for i, value in zip(out, values, strict=True))
    chosen = ", ".join(map(str, seeds[: len(seeds) // 2]))
    return f"{key}: its band of {span(number['band'])}, chosen on the seeds {chosen}, does not hold: {where}"


def _judges_nothing(number: Number) -> bool:
    """Return whether all values are the same, while the band leaves room on both sides of it."""
    values, (low, high) = number["values"], number["band"]
    if len(values) < 2 or None in values or not all(math.isclose(v, values[0], rel_tol=SAME) for v in values):
        return False
    return not any(end is not None and math.isclose(values[0], end, rel_tol=SAME) for end in (low, high))


def span(band: Sequence[float | None]) -> str:
    """Return a band in words: "0.8 to 1", "at least 0.8"."""
    low, high = band
    if low is None:
        return "any finite number" if high is None else f"at most {high:.4g}"
    return f"at least {low:.4g}" if high is None else f"{low:.4g} to {high:.4g}"


def changed_since(project: Project, solved: Mapping[str, NotebookNode]) -> list[str]:
    """Return the labs whose code has changed since they were replicated, and print which they are.

    Args:
        project: The checkout.
        solved: The solved notebooks by name of the lab; those without a replication do not count.
    """
    made = {lab: found for lab in solved if (found := read(project, lab))}
    changed = [lab for lab in made if made[lab]["provenance"]["source"] != cache.source(project, lab, solved[lab])]
    if changed:
        print(f"replications: changed since they were made: {', '.join(changed)}; run `course replicate` on them again")
    return changed


def attach(project: Project, records: Records, stale: Sequence[str]) -> None:
    """Add to each record the replication of its number and its control: its lab's, or the committed runs of a recipe.

    Args:
        project: The checkout.
        records: The numbers that a page may cite; they are changed.
        stale: The labs whose source has changed since they were replicated.
    """
    labs = {(record["lab"], record["preset"]) for record in records.values() if {"lab", "preset"} <= record.keys()}
    found = {place: read(project, *place) for place in sorted(labs)}
    for key, record in records.items():
        if len(runs := record.pop("runs", ())) > 1:
            record["replication"] = _of_committed(runs)
        replication = found.get((record.get("lab"), record.get("preset")))
        number = replication and replication["numbers"].get(key.removeprefix("gpu:"))
        if replication and number:
            control = replication["numbers"].get(number["control"])
            record["replication"] = {**number, "seeds": replication["seeds"], "stale": record["lab"] in stale}
            record["replication"]["control_values"] = control and control["values"]


def _of_committed(runs: Sequence[dict[str, Any]]) -> Number:
    """Return what the runs of a recipe on several seeds have together."""
    values = [run["value"] for run in runs]
    controls = [run["control"] and run["control"]["value"] for run in runs]
    together = {"values": values, **average(values), "seeds": [run["seed"] for run in runs]}
    return {**together, "in_band": None, "stale": False, "control_values": None if None in controls else controls}
