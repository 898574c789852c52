"""What every explorer's page version is made of: one frame, labelled controls, plain JavaScript, no request.

An explorer is a pair that shows the same: widgets that run in Jupyter, and their twin for a page without a kernel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from course_lib.show.theme import DARK_FILTER

LIMIT = 300_000  # bytes of one twin, all included


def frame(kind: str, title: str, body: str, data: Any = None) -> str:
    """The HTML of one explorer: its style, `body`, `data` as JSON, and the JavaScript of `kind` that brings it to life.

    Equal input gives equal HTML. Raises ValueError when it exceeds LIMIT.
    """
    html = f"""<div class="course-explorer {kind}" role="group" aria-label="{escape(title)}">
<style>{style()}</style>
<p class="title">{escape(title)}</p>
{body}
<noscript><p>{escape(title)}: its controls need JavaScript.</p></noscript>
{"" if data is None else f'<script type="application/json">{as_json(data)}</script>'}
<script>(function () {{
"use strict";
{source("twin.js")}
{source(kind + ".js")}
}})();</script>
</div>"""
    if len(html.encode()) > LIMIT:
        raise ValueError(
            f"{title}: {len(html.encode()) / 1000:.0f} KB exceed the {LIMIT // 1000} KB that an explorer may take on "
            "the page; pass fewer states, or smaller ones."
        )
    return html


def style() -> str:
    return source("twin.css").replace("DARK_FILTER", DARK_FILTER)


def source(name: str) -> str:
    return files("course_lib.show").joinpath(name).read_text("utf-8")


def as_json(data: Any) -> str:
    # A script element ends at the first "</", so that is written as "<\/", which JSON reads as the same; and "<!--"
    # would make the browser look for a second end.
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", r"<\/").replace("<!", r"\u003c!")


def choice(role: str, names: Sequence[object], chosen: int, label: str | None = None) -> str:
    """A labelled drop-down; `autocomplete` off, or a reload would keep a choice that is not shown."""
    options = "".join(
        f'<option value="{i}"{" selected" if i == chosen else ""}>{escape(str(name))}</option>'
        for i, name in enumerate(names)
    )
    text = escape(label or role.title())
    return f'<label>{text} <select data-role="{role}" autocomplete="off">{options}</select></label>'


def slide(role: str, names: Sequence[object], chosen: int, label: str | None = None) -> str:
    """A labelled slider over a list of values, each of which has a name that is written beside it and read aloud."""
    words = escape(json.dumps([str(name) for name in names], ensure_ascii=False))
    now = escape(str(names[chosen]))
    return (
        f'<label class="slide"><span>{escape(label or role.title())} <b aria-hidden="true">{now}</b></span>'
        f'<input type="range" data-role="{role}" min="0" max="{len(names) - 1}" value="{chosen}" '
        f'aria-valuetext="{now}" data-names="{words}" autocomplete="off"></label>'
    )
