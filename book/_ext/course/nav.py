"""Where am I, and what next: a line above the title of each page, and at its end a card with the next step.

`nav.js` adds what only the reader's browser knows: what was done already. Pages are complete without it.
"""

from __future__ import annotations

import functools
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .contents import Contents, Place
from .describe import first_paragraph


@functools.lru_cache(maxsize=1)
def contents_of(env: BuildEnvironment) -> Contents:
    return Contents(env)


def add_frame(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Put the line above the page's body and the card below it; a browser tab names a lab as the side bar does."""
    if doctree is None:
        return
    contents = contents_of(app.env)
    link = context["pathto"]
    here = contents.find(name)
    if here is not None:
        context["body"] = where(contents, here, link) + context["body"]
        if here.is_lab and here.title:
            context["title"] = f"{here.title}. {context['title']}"
    context["body"] += steps(contents, name, link)


def where(contents: Contents, here: Place, link: Any) -> str:
    """The line above the title, and for the scripts the page's name."""
    called = contents.called(here)
    parts = []
    if (above := here.chapter) is not None:
        chapter = contents.called(above)
        rest = called.removeprefix(chapter) if called.startswith(chapter) else ""
        parts.append(f'<a href="{escape(link(above.doc))}">{escape(chapter)}</a>{escape(rest)}')
    else:
        parts += [escape(text) for text in (here.part, called) if text and text != contents.title(here)]
    if contents.number(above or here) or not here.part:
        parts.append(f"about {duration(contents.minutes(here))}")
    if n_labs := sum(page.is_lab for page in here.pages):
        parts.append(f"{n_labs} lab" + "s" * (n_labs > 1))
    line = '<span class="where-dot" aria-hidden="true"> · </span>'.join(parts)
    full = called if called == contents.title(here) or here.is_lab else f"{called}: {contents.title(here)}"
    return f'<p class="where" data-page="{escape(here.doc)}" data-name="{escape(full)}">{line}</p>\n'


def steps(contents: Contents, name: str, link: Any) -> str:
    """The card at the end: the next page, what it asks and how long it takes, and the way back."""
    out = []
    if after := contents.beside(name, 1):
        kind = ["Next" if contents.called(after) == contents.title(after) else f"Next: {contents.called(after)}"]
        if contents.number(after.chapter or after) or not after.part:
            kind.append(f"about {duration(contents.minutes(after))}")
        title = contents.env.titles[after.doc].astext() if after.is_lab else contents.title(after)
        about = "" if after.is_lab else first_paragraph(contents.env.get_doctree(after.doc))
        out.append(
            f'<a class="step-next" rel="next" href="{escape(link(after.doc))}">'
            f'<span class="step-kind">{escape(", ".join(kind))}</span>'
            f'<span class="step-title">{escape(title)}</span>'
            + (f'<span class="step-about">{escape(about)}</span>' if about else "")
            + "</a>"
        )
    if before := contents.beside(name, -1):
        back = contents.called(before)
        out.append(f'<a class="step-back" rel="prev" href="{escape(link(before.doc))}">Back: {escape(back)}</a>')
    return f'<nav class="steps" aria-label="Next step">{"".join(out)}</nav>\n' if out else ""


def duration(minutes: int) -> str:
    """`80 minutes`, `1 minute`."""
    return f"{minutes} minute" + "s" * (minutes != 1)


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", add_frame)
    app.add_css_file("nav.css")
    app.add_js_file("nav.js", loading_method="defer")
