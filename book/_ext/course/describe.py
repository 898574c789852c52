"""A description for search engines and link previews: the first paragraph of each page."""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

LENGTH = 160  # about what a search engine shows


def first_paragraph(doctree: nodes.document) -> str:
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) > 40:
            return text if len(text) <= LENGTH else text[: LENGTH - 1].rsplit(" ", 1)[0] + "…"
    return ""


def add_description(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None):
    text = (first_paragraph(doctree) if doctree is not None else "") or app.config.html_title
    context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{escape(text)}">'


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", add_description)
