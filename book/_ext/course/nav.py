"""Where am I, and what next: a line above the title of each page, and at its end a card with the next step.

`nav.js` adds what only the reader's browser knows: what was done already. Pages are complete without it.

Sections that have moved from a page to another are named in its front matter; `nav.js` leads their old addresses on:

    moved:
      several-heads: ch01_heads
      what-we-measured: ch01_attention#a-lookup-by-content
"""

from __future__ import annotations

import functools
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from .contents import Contents, Place

logger = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1)
def contents_of(env: BuildEnvironment) -> Contents:
    return Contents(env)


def number_ideas(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number the pages of a chapter's ideas: 1.1, 1.2. Sphinx would number labs and headings with them.

    A chapter has the number that is in its name, ch10_..., also while chapters before it are still to be written.
    """
    numbered = []
    for chapter in contents_of(env).places:
        number = env.toc_secnumbers.get(chapter.doc, {}).get("") if chapter.chapter is None else None
        if number and (named := re.match(r"book/ch(\d+)_", chapter.doc)):
            number = (int(named[1]),)
            env.toc_secnumbers[chapter.doc][""] = number
            for node in (next(env.tocs[chapter.doc].findall(nodes.reference)), env.titles[chapter.doc]):
                node["secnumber"] = [*number]
            numbered.append(chapter.doc)
        for count, idea in enumerate(chapter.ideas if number else (), 1):
            numbers: dict[str, Any] = dict.fromkeys(
                (reference["anchorname"] for reference in env.tocs[idea.doc].findall(nodes.reference)), None
            )
            env.toc_secnumbers[idea.doc] = numbers | {"": (*number, count)}
            for node in (next(env.tocs[idea.doc].findall(nodes.reference)), env.titles[idea.doc]):
                node["secnumber"] = [*number, count]
            numbered.append(idea.doc)
    return numbered


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
        if targets := moved(app.env, name):
            urls = {old: f"{link(doc)}#{anchor}" for old, (doc, anchor) in targets.items()}
            data = f'<p class="where" data-moved="{escape(json.dumps(urls))}"'
            context["body"] = context["body"].replace('<p class="where"', data, 1)
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
    if contents.is_read(here):
        parts.append(f"about {duration(contents.minutes(here))}")
    if contents.number(here) and here.ideas:
        hours = max(1, round(sum(map(contents.minutes, here.pages)) / 60))
        inside = f"{counted(len(here.ideas), 'page')}, {counted(len(here.labs), 'lab')}"
        parts.append(f"{inside}: about {counted(hours, 'hour')}")
    elif len(here.labs) > 1:
        parts.append(counted(len(here.labs), "lab"))
    elif (lab := contents.beside(here.doc, 1)) and lab.is_lab and lab.reads is here:
        parts.append(f'<a href="{escape(link(lab.doc))}">its lab</a>: about {duration(contents.minutes(lab))}')
    line = '<span class="where-dot" aria-hidden="true"> · </span>'.join(parts)
    full = called if called.endswith(contents.title(here)) or here.is_lab else f"{called}: {contents.title(here)}"
    return f'<p class="where" data-page="{escape(here.doc)}" data-name="{escape(full)}">{line}</p>\n'


def steps(contents: Contents, name: str, link: Any) -> str:
    """The card at the end: the next page, what it asks and how long it takes, and the way back."""
    out = []
    if after := contents.beside(name, 1):
        kind = ["Next" if contents.called(after) == contents.title(after) else f"Next: {contents.called(after)}"]
        if contents.is_read(after):
            kind.append(f"about {duration(contents.minutes(after))}")
        # The line above has the short name of a page inside a chapter already.
        title = contents.env.titles[after.doc].astext() if after.chapter else contents.title(after)
        about = "" if after.is_lab else contents.about(after)
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
    return counted(minutes, "minute")


def counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def moved(env: BuildEnvironment, name: str) -> dict[str, tuple[str, str]]:
    """The sections that have moved away from a page: the old anchor, and the page and anchor it has now."""
    targets = {}
    for old, new in json.loads(env.metadata[name].get("moved", "{}")).items():
        page, _, anchor = new.partition("#")
        targets[old] = (f"{name.rpartition('/')[0]}/{page}".lstrip("/"), anchor or old)
    return targets


def check_moved(app: Sphinx, exception: Exception | None) -> None:
    """Warn of an old address that leads nowhere, or away from a section that is still there."""
    if exception is not None or app.builder.format != "html":
        return

    def has(doc: str, anchor: str) -> bool:
        path = Path(app.outdir) / f"{doc}.html"
        return path.is_file() and bool(re.search(rf'\bid="{re.escape(anchor)}"', path.read_text(encoding="utf8")))

    for name in app.env.metadata:
        for old, (doc, anchor) in moved(app.env, name).items():
            if not has(doc, anchor):
                logger.warning("moved: %s has no #%s", doc, anchor, location=name, type="course")
            if has(name, old):
                logger.warning("moved: #%s is still on this page", old, location=name, type="course")


def setup(app: Sphinx) -> None:
    app.connect("env-get-updated", number_ideas, priority=900)  # after Sphinx has numbered the chapters
    app.connect("html-page-context", add_frame)
    app.connect("build-finished", check_moved)
    app.add_css_file("nav.css")
    app.add_js_file("nav.js", loading_method="defer")
