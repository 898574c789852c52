"""`{recorded}`: the numbers that a section of a lab has recorded, one row each, with control and range over the seeds.

The builder puts it at the end of a section, with a key on each line.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from .lab import CourseDirective
from .number import formatted
from .staged import read

HEAD = ["recorded in this section", "measured", "control", "over the seeds"]


class RecordedDirective(CourseDirective):
    has_content = True

    def run(self) -> list[nodes.Node]:
        records = read(self.env, "results.json")
        rows = [row(key, records[key]) for key in self.content if key in records]
        columns = [at for at in range(len(HEAD)) if at < 2 or any(cells[at] for cells in rows)]
        lines = [[cells[at] for at in columns] for cells in (HEAD, ["---"] * len(HEAD), *rows)]
        holder = nodes.container(classes=["recorded"])
        holder += self.parsed("\n".join(f"| {' | '.join(cells)} |" for cells in lines)) if rows else []
        return [holder]


def row(key: str, record: dict[str, Any]) -> list[str]:
    """The cells of a number, in Markdown."""
    control = record.get("control")
    against = f"{{number}}`{control['key']}` `{control['key']}`" if control else ""
    values = [value for value in record.get("replication", {}).get("values", ()) if value is not None]
    spread = f"{formatted(min(values))} to {formatted(max(values))}" if values else ""
    return [f"`{key}`", f"{{number}}`{key}`", against, spread]


def setup(app: Sphinx) -> None:
    app.add_directive("recorded", RecordedDirective)
