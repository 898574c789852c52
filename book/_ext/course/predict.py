"""A question that the reader answers before the page shows what was measured.

    :::{predict} How often does one head get both answers right?
    :id: one-head
    :bar: heads.one.both .1% = one head
    :control: heads.four.both .1% = four heads
    :chance: 9.1% = knows one answer, guesses the other

    What is shown afterwards: text, {number}`heads.one.better_question .1%`, a figure, a table.
    :::

There are four kinds, each told by its option or its lines:

- choice: lines `( ) text` and one `(x) text`, then what is shown afterwards;
- `:bar: KEY FORMAT = name`: a bar to drag; `KEY mean FORMAT` for the mean over the lab's seeds; `:range: 0 to 4` unless
  it is a share, `:unit: nats`; `:control:` takes several, parted by `;`, and `:chance:` a key or a number;
- `:curve: FIGURE = series`: the reader draws a series of a lab's figure; `:given: series; series` are there before;
- `:order: largest first` (or smallest): lines `* name | KEY FORMAT`; the measured numbers tell the right order.

What follows in its section waits for the guess too (see `predict.js`), the next prediction included.

`{predictions}` lists all predictions of the book; with scripts it says how well the reader guesses. Without scripts,
and in print, all is in view. A guess stays in the reader's browser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from . import chart
from .lab import CourseDirective, raw
from .number import formatted
from .staged import lab_was_run, read

logger = logging.getLogger(__name__)
CHOICE = re.compile(r"\((?P<mark>[ xX])\)\s+(?P<text>\S.*)")
ITEM = re.compile(r"\*\s+(?P<name>[^|]+)\|\s*(?P<cited>\S.*)")
RANGE = re.compile(r"(-?[\d.]+) to (-?[\d.]+)")
POINTS = 8  # that a reader draws, at most
# The ways to answer; the truth for the scripts, None if it was not measured; the lines shown afterwards.
Answer = tuple[list[nodes.Node], dict[str, Any] | None, list[str]]


class predict(nodes.General, nodes.Element):
    """A prediction; children: predict_question, raw HTML of the ways to answer, predict_after."""


class predict_question(nodes.General, nodes.TextElement):
    pass


class predict_after(nodes.General, nodes.Element):
    """What is shown when the reader has guessed."""


class predictions(nodes.General, nodes.Element):
    """The place of the list of all predictions."""


@dataclass(frozen=True)
class Cited:
    """A number as an option cites it: its value, None where it was not measured, how it is written, its name."""

    value: float | None
    spec: str
    name: str

    @property
    def text(self) -> str:
        return "not measured yet" if self.value is None else formatted(self.value, self.spec)


class PredictDirective(CourseDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {
        "id": directives.unchanged_required,
        "bar": directives.unchanged_required,
        "curve": directives.unchanged_required,
        "order": directives.unchanged_required,
        "control": directives.unchanged_required,
        "chance": directives.unchanged_required,
        "given": directives.unchanged_required,
        "range": directives.unchanged_required,
        "unit": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        name = self.options.get("id")
        if not name or not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise self.error("a prediction needs `:id:` in lower-case letters, digits and hyphens")
        kinds = [kind for kind in ("bar", "curve", "order") if kind in self.options]
        if len(kinds) > 1:
            raise self.error(f"prediction {name}: choose one of {', '.join(kinds)}")
        try:
            answer, truth, after = getattr(self, kinds[0] if kinds else "choice")(list(self.content))
        except ValueError as error:
            raise self.error(f"prediction {name}: {error}") from None
        question = predict_question("", "", *self.inline(self.arguments[0]))
        self.note(name, question.astext(), truth)
        out = predict("", predict=name, truth=truth)
        out += [question, *answer]
        shown = predict_after()
        self.state.nested_parse(StringList(after, self.get_source_info()[0]), self.content_offset, shown)
        out += shown
        return [out]

    def note(self, name: str, question: str, truth: dict[str, Any] | None) -> None:
        known = all_predictions(self.env)
        if name in known and known[name]["doc"] != self.env.docname:
            logger.warning("prediction %s is also on %s", name, known[name]["doc"], location=self.get_location())
        known[name] = {"doc": self.env.docname, "question": question, "truth": truth}

    def inline(self, text: str) -> list[nodes.Node]:
        """Markdown within one line."""
        return [child for block in self.parsed(text) for child in block.children]

    def html(self, text: str) -> str:
        """Markdown within one line, as plain HTML: code and emphasis only."""
        text = escape(text.strip(), quote=False)
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
        return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)

    # What an option cites

    def cited(self, text: str) -> Cited:
        """`KEY FORMAT = name`, `KEY mean FORMAT = name` for the mean over the seeds, or a number in place of these."""
        cited, _, name = (part.strip() for part in text.partition("="))
        if number := re.fullmatch(r"(-?[\d.]+)(%?)", cited):
            digits = len(number[1].partition(".")[2])
            return Cited(float(number[1]) / (100 if number[2] else 1), f".{digits}{number[2] or 'f'}", name)
        key, *words = cited.split()
        spec, over_seeds = words[-1] if words else "", words[:1] == ["mean"]
        records = read(self.env, "results.json")
        if key not in records:
            if lab_was_run(self.env, key, records):
                logger.warning("no lab measured %s", key, location=self.get_location(), type="course")
            return Cited(None, spec, name)
        record = records[key]
        if over_seeds and "replication" not in record:
            logger.warning("nobody has replicated %s", key, location=self.get_location(), type="course")
            return Cited(None, spec, name)
        return Cited(record["replication"]["mean"] if over_seeds else record["value"], spec, name)

    # The four kinds

    def choice(self, lines: list[str]) -> Answer:
        found, after = leading(lines, CHOICE)
        right = [number for number, match in enumerate(found) if match["mark"] != " "]
        if len(found) < 2 or len(right) != 1:
            raise ValueError("a choice has at least two lines `( ) text`, exactly one of them marked (x)")
        rows: list[nodes.Node] = []
        texts = [self.inline(match["text"]) for match in found]
        for number, text in enumerate(texts):
            name, here = escape(self.options["id"]), number in right
            rows += [
                raw(
                    f'<label class="predict-choice"{" data-right" if here else ""}>'
                    f'<input type="radio" name="{name}" value="{number}"><span>'
                ),
                *text,
                raw("</span>" + ('<strong class="predict-mark">came out</strong>' if here else "") + "</label>"),
            ]
        names = ["".join(node.astext() for node in text) for text in texts]
        return rows, {"kind": "choice", "right": right[0], "of": len(found), "names": names}, after

    def bar(self, lines: list[str]) -> Answer:
        measured = self.cited(self.options["bar"])
        share = measured.spec.endswith("%")
        ends = RANGE.fullmatch(self.options.get("range", "0 to 1" if share else ""))
        if ends is None:
            raise ValueError("a bar that is no share needs `:range: 0 to 4`")
        low, high = map(float, ends.groups())
        axis, unit = chart.Axis(low, high), self.options.get("unit", "")
        rows = [self.row(measured, "measured", axis, "value", unit)]
        for part in self.options.get("control", "").split(";"):
            if part.strip():
                rows.append(self.row(self.cited(part), "control", axis, "control", unit))
        if "chance" in self.options:
            rows.append(self.row(self.cited(self.options["chance"]), "chance", axis, "chance", unit))
        answer = f'<div class="predict-chart">{chart.bars(rows)}</div>'
        if measured.value is None:
            return [raw(answer)], None, lines
        truth = {"kind": "bar", "value": measured.value, "text": measured.text, "low": low, "high": high}
        written = [chart.signed(f"{end:.0%}" if share else f"{end:,g}") for end in (low, high)]
        return [raw(answer)], truth | {"share": share, "unit": unit, "ends": written}, lines

    def row(self, cited: Cited, fallback: str, axis: chart.Axis, kind: str, unit: str) -> str:
        text = cited.text if cited.value is None or not unit else f"{cited.text} {unit}"
        return chart.bar(self.html(cited.name or fallback), text, cited.value, axis, kind)

    def curve(self, lines: list[str]) -> Answer:
        key, _, label = (part.strip() for part in self.options["curve"].partition("="))
        known = read(self.env, "shown.json")
        data = known.get(key)
        if data is None:
            if lab_was_run(self.env, key, known):
                logger.warning("no lab shows a figure %s", key, location=self.get_location(), type="course")
            return [raw('<p><span class="unmeasured">not drawn yet</span></p>')], None, lines
        labels = [line["label"] for line in data.get("series", [])]
        given = [part.strip() for part in self.options.get("given", "").split(";") if part.strip()]
        if unknown := [name for name in (label, *given) if name not in labels]:
            raise ValueError(f"the figure {key} has no series {unknown[0]}; it has {', '.join(labels)}")
        line = data["series"][labels.index(label)]
        x, y = chart.axes_of(data)
        points = [(a, b) for a, b in zip(line["x"], line["y"], strict=True) if None not in (a, b)]
        step = max(1, -(-len(points) // POINTS))
        points = [*points[:-1][::step], points[-1]]
        drawn = chart.curves(data, hidden=[name for name in labels if name not in given])
        answer = f'<div class="predict-chart">{drawn}<p class="heard-only after">{escape(data["alt"])}</p></div>'
        truth = {
            "kind": "curve",
            "label": label,
            "unit": data["ylabel"],
            "low": y.low,
            "high": y.high,
            "log": y.log,
            "names": [f"{a:g}" for a, _ in points],
            "axis": data["xlabel"],
            "at": [round(x.share(a), 4) for a, _ in points],
            "y": [b for _, b in points],
        }
        return [raw(answer)], truth, lines

    def order(self, lines: list[str]) -> Answer:
        found, after = leading(lines, ITEM)
        first = self.options["order"].split()[0]
        if len(found) < 3 or first not in ("largest", "smallest"):
            raise ValueError(
                "an order has `:order: largest first` or `smallest first` and three lines `* name | KEY` or more"
            )
        items = [(match["name"].strip(), self.cited(match["cited"])) for match in found]
        measured = all(cited.value is not None for _, cited in items)
        if measured:
            items.sort(key=lambda item: item[1].value or 0.0, reverse=first == "largest")
        rows = "".join(
            f'<li data-value="{cited.value if measured else ""}"><span class="predict-item">{self.html(name)}</span> '
            f'<span class="predict-number">{escape(cited.text)}</span></li>'
            for name, cited in items
        )
        how = f'<p class="predict-how">{escape(self.options["order"].capitalize())}</p>'
        names = [name for name, _ in items]
        values = [cited.value for _, cited in items]
        truth = {"kind": "order", "items": names, "values": values} if measured else None
        return [raw(f'{how}<ol class="predict-order">{rows}</ol>')], truth, after


def leading(lines: list[str], pattern: re.Pattern[str]) -> tuple[list[re.Match[str]], list[str]]:
    """The lines at the top that fit a pattern, and all lines below them."""
    found: list[re.Match[str]] = []
    rest = [*lines]
    while rest and (not rest[0].strip() or pattern.match(rest[0])):
        if match := pattern.match(rest.pop(0)):
            found.append(match)
    return found, rest


# All predictions of the book


class PredictionsDirective(CourseDirective):
    def run(self) -> list[nodes.Node]:
        return [predictions()]


def all_predictions(env: BuildEnvironment) -> dict[str, dict[str, Any]]:
    if not hasattr(env, "course_predictions"):
        env.course_predictions = {}  # type: ignore[attr-defined]
    return env.course_predictions  # type: ignore[attr-defined, no-any-return]


def forget_page(app: Sphinx, env: BuildEnvironment, doc: str) -> None:
    known = all_predictions(env)
    for name in [name for name, entry in known.items() if entry["doc"] == doc]:
        del known[name]


def merge(app: Sphinx, env: BuildEnvironment, docs: list[str], other: BuildEnvironment) -> None:
    all_predictions(env).update({n: e for n, e in all_predictions(other).items() if e["doc"] in docs})


def reading_order(env: BuildEnvironment) -> Iterator[tuple[str, dict[str, Any]]]:
    places = {doc: place for place, doc in enumerate(env.collect_relations())}
    yield from sorted(all_predictions(env).items(), key=lambda item: places.get(item[1]["doc"], len(places)))


def fill_in(app: Sphinx, doctree: nodes.document, doc: str) -> None:
    for place in list(doctree.findall(predictions)):
        rows = ""
        for name, entry in reading_order(app.env):
            page = app.builder.get_relative_uri(doc, entry["doc"])
            title = app.env.titles[entry["doc"]].astext()
            rows += (
                f'<tr data-predicted="{name}" data-truth="{escape(json.dumps(entry["truth"]))}">'
                f'<th scope="row"><a href="{escape(page)}#predict-{name}">{escape(entry["question"])}</a>'
                f'<span class="predictions-page">{escape(title)}</span></th></tr>'
            )
        place.replace_self(
            raw(
                '<div class="predictions"><p class="predictions-summary">With JavaScript, your guesses and how close '
                'they came stand here. They are kept in this browser only.</p><table class="table"><thead><tr>'
                f'<th scope="col">Question</th></tr></thead><tbody>{rows}</tbody></table></div>'
            )
        )


def visit_predict(self: Any, node: predict) -> None:
    name, truth = node["predict"], node["truth"]
    data = f' data-predict="{name}" data-truth="{escape(json.dumps(truth))}"' if truth else ""
    self.body.append(f'<div class="predict" id="predict-{name}"{data}><form><fieldset>')


def depart_predict(self: Any, node: predict) -> None:
    self.body.append("</div>\n")


def visit_question(self: Any, node: predict_question) -> None:
    self.body.append('<legend><span class="predict-kind">Your prediction</span> ')


def depart_question(self: Any, node: predict_question) -> None:
    self.body.append("</legend>\n")


def visit_after(self: Any, node: predict_after) -> None:
    self.body.append('</fieldset></form><div class="predict-after">')


def depart_after(self: Any, node: predict_after) -> None:
    self.body.append("</div>")


def nothing(self: Any, node: nodes.Node) -> None:
    pass


def setup(app: Sphinx) -> None:
    pairs = {
        predict: (visit_predict, depart_predict),
        predict_question: (visit_question, depart_question),
        predict_after: (visit_after, depart_after),
        predictions: (nothing, nothing),
    }
    for kind, html in pairs.items():
        app.add_node(kind, html=html, latex=(nothing, nothing), text=(nothing, nothing))
    app.add_directive("predict", PredictDirective)
    app.add_directive("predictions", PredictionsDirective)
    app.connect("env-purge-doc", forget_page)
    app.connect("env-merge-info", merge)
    app.connect("doctree-resolved", fill_in)
