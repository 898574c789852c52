"""What a lab drew, on a page: {labfigure}`recall.models` and {labtable}`recall.models`, by key, never a copy.

    :::{labfigure} attention.recall-models
    The caption, if another than the lab's.
    :::

Bars and curves are drawn anew, in the colours of the page; any other picture is shown as it is. Its alt text comes with
it. A table takes `:columns: 1 2 4` to show some of its columns, the first of them with the names of the rows.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging

from course_lib.tables import Table

from . import chart
from .lab import CourseDirective, raw
from .staged import lab_was_run, read, step_link

logger = logging.getLogger(__name__)


class ShownDirective(CourseDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"columns": directives.positive_int_list}
    what = "figure"

    def run(self) -> list[nodes.Node]:
        key = self.arguments[0]
        known = read(self.env, "shown.json")
        entry = known.get(key)
        if entry is None or (entry["kind"] == "table") != (self.what == "table"):
            if entry or lab_was_run(self.env, key, known):
                logger.warning("no lab shows a %s %s", self.what, key, location=self.get_location(), type="course")
            return [nodes.paragraph("", "", nodes.inline("", "not drawn yet", classes=["unmeasured"]))]
        own = self.parsed("\n".join(self.content)) if self.content else [nodes.Text(entry.get("caption") or "")]
        if self.content and len(own) == 1 and isinstance(own[0], nodes.paragraph):
            own = own[0].children
        link = step_link(self.env, entry)
        where = f' <a class="labfigure-source" href="{escape(link)}">The lab’s step</a>' if link else ""
        return [
            raw(f'<figure class="labfigure" data-shown="{escape(key)}">{self.body(entry)}<figcaption>'),
            *own,
            raw(f"{where}</figcaption></figure>"),
        ]

    def body(self, entry: dict[str, Any]) -> str:
        match entry["kind"]:
            case "bars":
                drawn = chart.recorded_bars(entry)
            case "curves":
                drawn = chart.curves(entry)
            case _:
                picture = re.sub(r"<style>.*?</style>|<figcaption>.*?</figcaption>", "", entry["html"], flags=re.DOTALL)
                return picture.replace("<figure", "<div").replace("</figure>", "</div>")
        return f'<div role="img" aria-label="{escape(entry["alt"])}">{drawn}</div>'


class TableDirective(ShownDirective):
    what = "table"

    def body(self, entry: dict[str, Any]) -> str:
        count = len(entry["columns"])
        chosen = [number - 1 for number in self.options.get("columns", range(1, count + 1))]
        if not all(0 <= number < count for number in chosen):
            raise self.error(f"the table {self.arguments[0]} has {count} columns")
        rows = [[row[number] for number in chosen] for row in entry["rows"]]
        columns, align = ([entry[name][number] for number in chosen] for name in ("columns", "align"))
        return Table(columns, rows, align).to_html()


def setup(app: Sphinx) -> None:
    app.add_directive("labfigure", ShownDirective)
    app.add_directive("labtable", TableDirective)
