"""{number}`attention.recall` and {number}`attention.recall .1%`: a number that a lab measured, never one typed in.

A key that no lab of this build recorded is a warning, which fails the strict build. A `gpu:` key that nobody has run
yet reads "not measured yet".
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)
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
        try:
            text = formatted(record["value"], spec.strip())
        except ValueError:
            logger.warning("%s cannot be written as %r", key, spec, location=self.get_location(), type="course")
            text = formatted(record["value"])
        return [measured("", text, record=record)], []

    def _should_be_here(self, key: str, records: dict[str, Any]) -> bool:
        """Where one lab alone was run, the keys of the others are missing as they should."""
        run = json.loads((Path(self.env.srcdir) / "labs.json").read_text(encoding="utf8"))
        labs = {name.removeprefix("labs/") for name in self.env.found_docs if name.startswith("labs/")}
        return labs <= run.keys() or key.partition(".")[0] in {known.partition(".")[0] for known in records}


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
    seed = [] if record.get("seed") is None else [f"seed {record['seed']}"]
    where = record["device"].upper() if record["device"] == "cpu" else record["device"]
    run = [*seed, f"preset {record['preset']}", where, f"commit {record.get('commit', 'unknown')}"]
    rows.append(("Run", ", ".join(run)))
    if command := record.get("command"):
        rows.append(("Repeat", command))
    return rows


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
        for name, text in details(node["record"])
    )
    self.body.append(f'</span><span class="number-tip" role="tooltip" id="{node["tip"]}">{rows}</span></span>')


def nothing(self: Any, node: nodes.Node) -> None:
    pass


def setup(app: Sphinx) -> None:
    app.add_node(measured, html=(visit_html, depart_html), latex=(nothing, nothing), text=(nothing, nothing))
    app.add_role("number", NumberRole())
