"""The figures and tables that labs drew, by key, so that a page of the book can show them."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode

from course_lib.site.paths import SiteError

Shown = dict[str, dict[str, Any]]


def collect(lab: str, executed: NotebookNode) -> Shown:
    """Collect what one executed lab showed with a key: its data, or the HTML of its picture, its lab and its cell.

    Raises:
        SiteError: If a key stands for two of them.
    """
    found: Shown = {}
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            shown = output.get("metadata", {}).get("course_shown")
            if shown is None:
                continue
            if shown["key"] in found:
                raise SiteError(f"labs/{lab}.ipynb shows {shown['key']} twice; give each figure and table its own key")
            entry = {**shown, "lab": lab, "cell": cell.get("id", "")}
            if shown["kind"] == "picture":
                entry["html"] = output["data"]["text/html"]
            found[shown["key"]] = entry
    return found


def merge(labs: dict[str, Shown]) -> Shown:
    """Merge what all labs showed.

    Raises:
        SiteError: If two labs use the same key.
    """
    merged: Shown = {}
    for lab, shown in labs.items():
        for key, entry in shown.items():
            if key in merged:
                first = merged[key]["lab"]
                raise SiteError(f"{key} is shown by both labs/{first}.ipynb and labs/{lab}.ipynb: rename one")
            merged[key] = entry
    return merged
