"""{number}`attention.recall` and {number}`attention.recall .1%`: a number that a lab measured, never one typed in.

{number}`attention.recall mean .1%` and {number}`attention.recall interval .1%` are the mean over the lab's
replications and its 95% interval; {number}`attention.recall runs > 80%` counts those above a bound: "nine of ten".
{number}`attention.recall less attention.blind interval .1%` is about the difference of two numbers of one lab, taken
run by run. A key that no lab of this build recorded, or the mean of one that nobody has replicated, is a warning, which
fails the strict build. A `cpu:`, `hour:` or `gpu:` key is that of a recipe's committed run, and its mean that of the
runs on several seeds; of the last two, one that nobody has run yet reads "not measured yet".
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from .staged import lab_was_run, read, step_link

logger = logging.getLogger(__name__)
LONGER_RUNS = ("hour:", "gpu:")  # what precedes the key of a number that no lab measures
OVER_SEEDS = ("mean", "interval", "runs")
WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WIDTH, MARGIN = 320, 8  # of the drawing of the runs, in its own units
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class measured(nodes.Inline, nodes.TextElement):
    """A cited number; its text is the formatted value, its attribute `record` what is known about it."""


class NumberRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        key, _, spec = self.text.strip().partition(" ")
        keys = [key]
        if spec.startswith("less "):
            other, _, spec = spec.removeprefix("less ").partition(" ")
            keys.append(other)
        records = read(self.env, "results.json")
        for key in keys:
            if key not in records:
                if not key.startswith(LONGER_RUNS) and lab_was_run(self.env, key, records):
                    logger.warning("no lab measured %s", key, location=self.get_location(), type="course")
                return [nodes.inline("", "not measured yet", classes=["unmeasured"])], []
        if len({records[key].get("lab") for key in keys}) > 1:
            logger.warning("%s are of two labs", " and ".join(keys), location=self.get_location(), type="course")
            return [nodes.inline("", "not measured yet", classes=["unmeasured"])], []
        record = records[key] if len(keys) == 1 else difference(*(records[key] for key in keys))
        what, _, digits = spec.strip().partition(" ")
        if what not in OVER_SEEDS:
            what, digits = "value", spec.strip()
        elif "replication" not in record:
            if not key.startswith(LONGER_RUNS):
                logger.warning("nobody has replicated %s", key, location=self.get_location(), type="course")
            return [nodes.inline("", "not measured yet", classes=["unmeasured"])], []
        try:
            text = written(record, what, digits)
        except ValueError:
            logger.warning("%s cannot be written as %r", key, spec, location=self.get_location(), type="course")
            text = written(record, what)
        unit = "%" if digits.endswith("%") else ""
        return [measured("", text, record=record, unit=unit, step=step_link(self.env, record))], []


def difference(record: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A number less another of the same lab, as a record of its own: its interval is that of the pairs, run by run."""
    from course_lib.site.replication import average  # only here, since it imports torch

    kept = {name: record[name] for name in ("lab", "cell", "device", "preset", "seed", "commit") if name in record}
    found = {**kept, "key": f"{record['key']} less {other['key']}", "value": less(record["value"], other["value"])}
    if "replication" in record and "replication" in other:
        made, beside = record["replication"], other["replication"]
        values = [less(*pair) for pair in zip(made["values"], beside["values"], strict=True)]
        both = {"seeds": made["seeds"], "stale": made["stale"] or beside["stale"], "values": values, **average(values)}
        found["replication"] = {**both, "in_band": None, "control_values": None}
    return found


def less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def written(record: dict[str, Any], what: str, spec: str = "") -> str:
    """The value of a number; or the mean or the interval of its replications, or how many of them are in a range."""
    if what == "value":
        return formatted(record["value"], spec)
    made = record["replication"]
    if what == "runs":
        return " of ".join(WORDS[n] if n < len(WORDS) else str(n) for n in count(made["values"], spec))
    return formatted(made["mean"], spec) if what == "mean" else from_to(made["interval"] or [made["mean"]] * 2, spec)


def count(values: Sequence[float | None], condition: str) -> tuple[int, int]:
    """How many of the runs gave a number above or below a bound, as "> 80%" or "< 0.1" says, and how many there are.

    Raises:
        ValueError: If the condition has another form.
    """
    sign, _, bound = condition.partition(" ")
    limit = float(bound.removesuffix("%")) / (100 if bound.endswith("%") else 1)
    if sign not in ("<", ">"):
        raise ValueError(f"{condition!r} is no condition such as '> 80%'")
    known = [value for value in values if value is not None]
    return sum(value > limit if sign == ">" else value < limit for value in known), len(values)


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


def in_unit(value: float | None, unit: str) -> str:
    """A value with three digits in the unit in which the page cites it: "93.4%" or "0.934"."""
    return formatted(value) if value is None or not unit else formatted(100 * value) + unit


def value_and_band(part: dict[str, Any], unit: str) -> str:
    """`93.4%, expected 80% to 100%`."""
    text = in_unit(part["value"], unit)
    if band := part.get("band"):
        low, high = ("no limit" if end is None else in_unit(end, unit) for end in band)
        text += f", expected {low}" + (f" to {high}" if low != high else "")
    return text


def details(record: dict[str, Any], unit: str = "") -> list[tuple[str, str]]:
    """What the card says about a number, in the order of a careful reader's questions."""
    rows = [("Measured", value_and_band(record, unit))]
    if control := record.get("control"):
        rows.append(("Control", value_and_band(control, unit)))
    if lead := record.get("lead"):
        rows.append(("Difference", value_and_band(lead, unit)))
    if claims := record.get("control_of"):
        rows.append(("Control of", "; ".join(f"{in_unit(claim['value'], unit)} ({claim['key']})" for claim in claims)))
    if made := record.get("replication"):
        rows.append(("Replicated", over_seeds(made, unit)))
    seed = [] if record.get("seed") is None else [f"seed {record['seed']}"]
    where = record["device"].upper() if record["device"] == "cpu" else record["device"]
    run = [*seed, f"preset {record['preset']}", where, f"commit {record.get('commit', 'unknown')}"]
    rows.append(("Run", ", ".join(run)))
    if command := record.get("command"):
        rows.append(("Repeat", command))
    rows.append(("Key", ", control ".join(part["key"] for part in (record, record.get("control")) if part)))
    return rows


def over_seeds(made: dict[str, Any], unit: str = "") -> str:
    """`10 runs: 93% to 98%, mean 96%, 95% interval 95% to 97%; 10 of 10 in the band`."""
    finite = [value for value in made["values"] if value is not None]
    n_runs = len(made["values"])
    text = f"{n_runs} runs: "
    if not finite:
        text += "none gave a number"
    elif made["interval"] is None:
        text += f"{in_unit(finite[0], unit)} on each"
    else:
        ends, interval = (f"{in_unit(a, unit)} to {in_unit(b, unit)}" for a, b in (span(finite), made["interval"]))
        text += f"{ends}, mean {in_unit(made['mean'], unit)}, 95% interval {interval}"
    if 0 < len(finite) < n_runs:
        text += f"; {n_runs - len(finite)} gave no number"
    if made["in_band"] is not None:
        text += f"; {sum(made['in_band'])} of {n_runs} in the band"
    return text + ("; made before the lab last changed" if made["stale"] else "")


def span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def drawing(record: dict[str, Any], unit: str = "") -> str:
    """The number as a bar over its band, its runs as dots with a ring around this one, and below both its control.

    A share is drawn on the scale from 0 to 100%, any other number between the least and the greatest of all these.
    """
    made, control = record.get("replication"), record.get("control")
    value, band = record["value"], record.get("band") or []
    runs = list(zip(made["seeds"], made["values"], strict=True)) if made else []
    controls = [] if control is None else (made and made["control_values"]) or [control["value"]]
    known = [value, *(run for _, run in runs), *controls]
    known = [number for number in [*known, *band] if number is not None]
    if value is None or not known:
        return ""
    low, high = span(known)
    if unit and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low > 0 and low < 0.5 * high:
        low = 0.0

    def x(number: float) -> float:
        return round(WIDTH / 2 if low == high else MARGIN + (number - low) / (high - low) * (WIDTH - 2 * MARGIN), 1)

    shapes = []
    if band:
        left, right = (edge if end is None else x(end) for end, edge in zip(band, (0, WIDTH), strict=True))
        shapes.append(f'<rect class="band" x="{left}" y="1" width="{round(max(right - left, 1), 1)}" height="28"/>')
    start = x(min(max(0.0, low), high))  # bars begin at zero where the scale has it
    for kind, at, number in (("bar", 10, value), ("bar of-control", 21, control and control["value"])):
        if number is not None:
            left, width = min(start, x(number)), round(max(abs(x(number) - start), 1), 1)
            shapes.append(f'<rect class="{kind}" x="{left}" y="{at - 3}" width="{width}" height="6"/>')
    inside = (made and made["in_band"]) or [True] * len(runs)
    for (seed, run), lies_in in zip(runs, inside, strict=True):
        if run is not None:
            kind = "run" + ("" if lies_in else " out") + (" own" if seed == record.get("seed") else "")
            shapes.append(f'<circle class="{kind}" cx="{x(run)}" cy="10" r="3.5"/>')
    shapes += [f'<circle class="control" cx="{x(run)}" cy="21" r="3.5"/>' for run in controls if run is not None]
    ends = [(x(low), "start", low), (x(high), "end", high)] if low < high else [(x(low), "middle", low)]
    shapes += [f'<text x="{at}" y="42" text-anchor="{anchor}">{in_unit(end, unit)}</text>' for at, anchor, end in ends]
    of_this_page = record.get("seed") in [seed for seed, _ in runs]
    key = [f"Ringed: seed {record['seed']}, the seed of this page's run."] if of_this_page else []
    key += ["Hollow: the control."] if controls else []
    key += ["Shaded: the band."] if band else []
    picture = f'<svg class="number-dots" viewBox="0 0 {WIDTH} 46" aria-hidden="true">{"".join(shapes)}</svg>'
    return picture + (f'<span class="number-key" aria-hidden="true">{" ".join(key)}</span>' if key else "")


def visit_html(self: Any, node: measured) -> None:
    self.course_numbers = getattr(self, "course_numbers", 0) + 1
    tip = f"number-{self.course_numbers}"
    self.body.append(
        f'<span class="number"><span class="number-value" role="button" tabindex="0" aria-describedby="{tip}">'
    )
    node["tip"] = tip


def depart_html(self: Any, node: measured) -> None:
    rows = [
        f'<span class="number-row"><span class="number-name">{escape(name)}</span> {escape(text)}</span>'
        for name, text in details(node["record"], node["unit"])
    ]
    link = (
        f'<a class="number-step" href="{escape(node["step"])}">The lab’s step that measured it</a>'
        if node["step"]
        else ""
    )
    card = drawing(node["record"], node["unit"]) + "".join(rows) + link
    self.body.append(f'</span><span class="number-tip" role="tooltip" id="{node["tip"]}">{card}</span></span>')


def nothing(self: Any, node: nodes.Node) -> None:
    pass


def setup(app: Sphinx) -> None:
    app.add_node(measured, html=(visit_html, depart_html), latex=(nothing, nothing), text=(nothing, nothing))
    app.add_role("number", NumberRole())
