"""{number}`attention.recall` and {number}`attention.recall .1%`: a number that a lab measured, never one typed in.

{number}`attention.recall mean .1%` and {number}`attention.recall interval .1%` are the mean over the lab's replications
and its 95% interval. A key that no lab of this build recorded, or the mean of one that nobody has replicated, is a
warning, which fails the strict build. A `gpu:` key that nobody has run yet reads "not measured yet".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)
OVER_SEEDS = ("mean", "interval")
WIDTH, MARGIN = 320, 8  # of the drawing of the runs, in its own units
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class measured(nodes.Inline, nodes.TextElement):
    """A cited number; its text is the formatted value, its attribute `record` what is known about it."""


class NumberRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        key, _, spec = self.text.strip().partition(" ")
        path = Path(self.env.srcdir) / "results.json"
        self.env.note_dependency(str(path))
        records = json.loads(path.read_text(encoding="utf8"))
        record = records.get(key)
        if record is None:
            if not key.startswith("gpu:") and self._should_be_here(key, records):
                logger.warning("no lab measured %s", key, location=self.get_location(), type="course")
            return [nodes.inline("", "not measured yet", classes=["unmeasured"])], []
        what, _, digits = spec.strip().partition(" ")
        if what not in OVER_SEEDS:
            what, digits = "value", spec.strip()
        elif "replication" not in record:
            if not key.startswith("gpu:"):
                logger.warning("nobody has replicated %s", key, location=self.get_location(), type="course")
            return [nodes.inline("", "not measured yet", classes=["unmeasured"])], []
        try:
            text = written(record, what, digits)
        except ValueError:
            logger.warning("%s cannot be written as %r", key, spec, location=self.get_location(), type="course")
            text = written(record, what)
        return [measured("", text, record=record)], []

    def _should_be_here(self, key: str, records: dict[str, Any]) -> bool:
        """Where one lab alone was run, the keys of the others are missing as they should."""
        run = json.loads((Path(self.env.srcdir) / "labs.json").read_text(encoding="utf8"))
        labs = {name.removeprefix("labs/") for name in self.env.found_docs if name.startswith("labs/")}
        return labs <= run.keys() or key.partition(".")[0] in {known.partition(".")[0] for known in records}


def written(record: dict[str, Any], what: str, spec: str = "") -> str:
    """The value of a number, or the mean or the interval of its replications."""
    if what == "value":
        return formatted(record["value"], spec)
    made = record["replication"]
    return formatted(made["mean"], spec) if what == "mean" else from_to(made["interval"] or [made["mean"]] * 2, spec)


def from_to(ends: Sequence[float | None], spec: str = "") -> str:
    return f"{formatted(ends[0], spec)} to {formatted(ends[1], spec)}"


def formatted(value: float | None, spec: str = "") -> str:
    """As asked, otherwise whole numbers whole and others with three digits."""
    if value is None:
        return "not a number"
    if not spec:
        spec = ".0f" if float(value).is_integer() and abs(value) < 1e6 else ".3g"
    digits, _, exponent = format(value, spec).partition("e")
    power = f" × 10{str(int(exponent)).translate(SUPERSCRIPT)}" if exponent else ""
    return digits.replace("-", "\u2212") + power


def value_and_band(part: dict[str, Any]) -> str:
    """`0.934 (attention.recall), expected 0.8 to 1`."""
    text = f"{formatted(part['value'])} ({part['key']})"
    if band := part.get("band"):
        low, high = ("no limit" if end is None else formatted(end) for end in band)
        text += f", expected {low} to {high}"
    return text


def details(record: dict[str, Any]) -> list[tuple[str, str]]:
    """What the badge says about a number, in the order of a careful reader's questions."""
    rows = [("Measured", value_and_band(record))]
    if control := record.get("control"):
        rows.append(("Control", value_and_band(control)))
    if claims := record.get("control_of"):
        rows.append(("Control of", "; ".join(f"{claim['key']} = {formatted(claim['value'])}" for claim in claims)))
    if made := record.get("replication"):
        rows.append(("Replicated", over_seeds(made)))
    seed = [] if record.get("seed") is None else [f"seed {record['seed']}"]
    where = record["device"].upper() if record["device"] == "cpu" else record["device"]
    run = [*seed, f"preset {record['preset']}", where, f"commit {record.get('commit', 'unknown')}"]
    rows.append(("Run", ", ".join(run)))
    if command := record.get("command"):
        rows.append(("Repeat", command))
    return rows


def over_seeds(made: dict[str, Any]) -> str:
    """`10 runs: 0.93 to 0.98, mean 0.96, 95% interval 0.95 to 0.97; 10 of 10 in the band`."""
    finite = [value for value in made["values"] if value is not None]
    n_runs = len(made["values"])
    text = f"{n_runs} runs: "
    if not finite:
        text += "none gave a number"
    elif made["interval"] is None:
        text += f"{formatted(finite[0])} on each"
    else:
        interval = from_to(made["interval"])
        text += f"{from_to([min(finite), max(finite)])}, mean {formatted(made['mean'])}, 95% interval {interval}"
    if 0 < len(finite) < n_runs:
        text += f"; {n_runs - len(finite)} gave no number"
    if made["in_band"] is not None:
        text += f"; {sum(made['in_band'])} of {n_runs} in the band"
    return text + ("; made before the lab last changed" if made["stale"] else "")


def dots(made: dict[str, Any], seed: int | None = None) -> str:
    """The runs as dots over the band, with a ring around that of `seed`, and hollow below them those of the control."""
    controls = [value for value in made["control_values"] or [] if value is not None]
    band = made["band"] or []
    values = [value for value in made["values"] if value is not None]
    known = [*values, *controls, *(end for end in band if end is not None)]
    if not values:
        return ""
    low, high = min(known), max(known)

    def x(value: float) -> float:
        return round(WIDTH / 2 if low == high else MARGIN + (value - low) / (high - low) * (WIDTH - 2 * MARGIN), 1)

    shapes = []
    if band:
        left, right = (edge if end is None else x(end) for end, edge in zip(band, (0, WIDTH), strict=True))
        shapes.append(f'<rect class="band" x="{left}" y="1" width="{round(max(right - left, 1), 1)}" height="28"/>')
    inside = made["in_band"] or [True] * len(made["values"])
    for own, value, lies_in in zip(made["seeds"], made["values"], inside, strict=True):
        if value is not None:
            kind = "run" + ("" if lies_in else " out") + (" own" if own == seed else "")
            shapes.append(f'<circle class="{kind}" cx="{x(value)}" cy="10" r="3.5"/>')
    shapes += [f'<circle class="control" cx="{x(value)}" cy="21" r="3.5"/>' for value in controls]
    ends = [(x(low), "start", low), (x(high), "end", high)] if low < high else [(x(low), "middle", low)]
    shapes += [f'<text x="{at}" y="42" text-anchor="{anchor}">{formatted(end)}</text>' for at, anchor, end in ends]
    key = [f"Ringed: seed {seed}, as on this page."] if seed in made["seeds"] else []
    key += ["Hollow: the control."] if controls else []
    drawing = f'<svg class="number-dots" viewBox="0 0 {WIDTH} 46" aria-hidden="true">{"".join(shapes)}</svg>'
    return drawing + (f'<span class="number-key" aria-hidden="true">{" ".join(key)}</span>' if key else "")


def visit_html(self: Any, node: measured) -> None:
    self.course_numbers = getattr(self, "course_numbers", 0) + 1
    tip = f"number-{self.course_numbers}"
    self.body.append(
        f'<span class="number"><span class="number-value" role="button" tabindex="0" aria-describedby="{tip}">'
    )
    node["tip"] = tip


def depart_html(self: Any, node: measured) -> None:
    rows = "".join(
        f'<span class="number-row"><span class="number-name">{escape(name)}</span> {escape(text)}</span>'
        + (dots(node["record"]["replication"], node["record"].get("seed")) if name == "Replicated" else "")
        for name, text in details(node["record"])
    )
    self.body.append(f'</span><span class="number-tip" role="tooltip" id="{node["tip"]}">{rows}</span></span>')


def nothing(self: Any, node: nodes.Node) -> None:
    pass


def setup(app: Sphinx) -> None:
    app.add_node(measured, html=(visit_html, depart_html), latex=(nothing, nothing), text=(nothing, nothing))
    app.add_role("number", NumberRole())
