"""The numbers that labs measured, read from the outputs' metadata, written to `_build/results/`, cited by pages."""

from __future__ import annotations

import json
from typing import Any

from nbformat import NotebookNode

from course_lib.files import write_text
from course_lib.site.cache import REPLICATIONS
from course_lib.site.paths import Project, SiteError

Records = dict[str, dict[str, Any]]
COMMITTED = ("cpu", "hour", "gpu")  # the presets of committed runs that pages may cite


def collect(lab: str, executed: NotebookNode) -> Records:
    """Collect the records of one executed lab by key, each with the lab, cell, commit and command that made it."""
    measured = executed.metadata.get("course", {})
    preset = "" if measured.get("preset", "cpu") == "cpu" else f" --preset {measured['preset']}"
    seed = f"COURSE_SEED={measured['seed']} " if measured.get("seed") else ""
    command = f"{seed}.venv/bin/course book{preset} --only {lab}"
    made_by = {"lab": lab, "commit": measured.get("commit", "none"), "command": command}
    found: Records = {}
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            record = output.get("metadata", {}).get("course_record")
            if record is None:
                continue
            if record["key"] in found:
                raise SiteError(f"labs/{lab}.ipynb records {record['key']} twice; give each number its own key")
            found[record["key"]] = {**made_by, "cell": cell.get("id", ""), **record}
    for record in list(found.values()):
        if control := record.get("control"):  # a control is a number too, and may be cited by its own key
            own: dict[str, Any] = {"control": None, "lead": None, "control_of": []}
            cited = found.setdefault(control["key"], {**record, **own, **control})
            claim = {"key": record["key"], "value": record["value"]}
            cited["control_of"] = [*cited.get("control_of", []), claim]
    return found


def write(project: Project, lab: str, found: Records) -> None:
    """Write the records of one lab into `_build/results/`."""
    write_text(project.results / f"{lab}.json", json.dumps(found, indent=2, sort_keys=True) + "\n")


def merge(project: Project, labs: dict[str, Records]) -> Records:
    """Merge all numbers that a page may cite: this build's by key, committed ones by preset and key as `cpu:<key>`.

    Raises:
        SiteError: If two labs record the same key.
    """
    merged: Records = {}
    for path in sorted((project.root / "results").glob("**/*.json")):
        if {REPLICATIONS, "rates"} & set(path.relative_to(project.root).parts):
            continue
        committed = json.loads(path.read_text(encoding="utf8"))
        size = committed.get("provenance", {}).get("preset")
        if size in COMMITTED and "values" in committed:
            for key, record in _records_of_run(committed).items():
                first = merged.setdefault(f"{size}:{key}", record | {"runs": []})  # its value is cited, or the mean
                first["runs"].append(record)
    for lab, records in labs.items():
        for key, record in records.items():
            if key in merged:
                first = merged[key]["lab"]
                raise SiteError(f"{key} is recorded by both labs/{first}.ipynb and labs/{lab}.ipynb: rename one")
            merged[key] = record
            if record.get("preset") == "gpu":
                merged[f"gpu:{key}"] = record
    return merged


def seeds_of_recipe(project: Project, recipe: str) -> list[int]:
    """Return the seeds of a recipe's committed runs."""
    files = [file for size in COMMITTED for file in (project.root / "results" / size).glob(f"{recipe}-seed*.json")]
    return [json.loads(file.read_text(encoding="utf8"))["provenance"]["seed"] for file in files]


def _records_of_run(committed: dict[str, Any]) -> Records:
    """Return the numbers of a committed run as records, each with its provenance and its control's value."""
    values, controls = committed["values"], committed["controls"]
    records: Records = {}
    for key, value in values.items():
        control = {"key": controls[key], "value": values[controls[key]]} if key in controls else None
        records[key] = {**committed["provenance"], "key": key, "value": value, "control": control}
    return records
