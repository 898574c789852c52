"""The table of contents as the pages see it: where a page stands, what comes next, and how many minutes it takes.

A chapter has one of two forms: one page with its labs, or an overview with a page for each idea, each before its lab.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .describe import first_paragraph

WORDS_PER_MINUTE = 120  # of a text with formulas and tables that is read to be understood
SAID = re.compile(r"about (?:(\d+) minutes|an hour)")  # by the first cell of a lab


@dataclass(eq=False)
class Place:
    """A page of the book.

    Attributes:
        doc: Its name, as "labs/ch01_heads".
        title: Its name in `_toc.yml`, if it has one there.
        part: The caption of its part.
        chapter: The page that it belongs to; None for a chapter itself.
        pages: The pages that belong to it, in order.
    """

    doc: str
    title: str | None
    part: str
    chapter: Place | None = None
    pages: list[Place] = field(default_factory=list)

    @property
    def is_lab(self) -> bool:
        return self.doc.startswith("labs/")

    @property
    def ideas(self) -> list[Place]:
        """The pages of a chapter that has one for each idea; none of a chapter that is one page."""
        return [page for page in self.pages if not page.is_lab]

    @property
    def labs(self) -> list[Place]:
        return [page for page in self.pages if page.is_lab]

    @property
    def reads(self) -> Place | None:
        """The page of a lab's idea: the one before it in its chapter, or the chapter's only page."""
        if self.chapter is None:
            return None
        before = self.chapter.pages[: self.chapter.pages.index(self)]
        return next((page for page in reversed(before) if not page.is_lab), self.chapter)

    @property
    def name(self) -> str:
        """The name of a lab without the word that says it is one: "heads"."""
        return (self.title or "").removeprefix("Lab: ")


def places(toc: dict[str, Any]) -> list[Place]:
    """All pages below the first, in reading order."""

    def below(entry: dict[str, Any], part: str, chapter: Place | None) -> Iterator[Place]:
        here = Place(entry["file"], entry.get("title"), part, chapter)
        yield here
        for section in entry.get("sections", ()):
            inside = list(below(section, part, here))
            here.pages.append(inside[0])
            yield from inside

    parts = toc.get("parts") or [toc]
    return [
        place
        for part in parts
        for entry in part.get("chapters", ())
        for place in below(entry, part.get("caption") or "", None)
    ]


class Contents:
    """The table of contents of a book that Sphinx has read."""

    def __init__(self, env: BuildEnvironment) -> None:
        self.env = env
        toc = yaml.safe_load((Path(env.srcdir) / "_toc.yml").read_text(encoding="utf8"))
        self.root = toc["root"]
        self.places = places(toc)
        self._at = {place.doc: number for number, place in enumerate(self.places)}

    def find(self, doc: str) -> Place | None:
        return self.places[self._at[doc]] if doc in self._at else None

    def beside(self, doc: str, step: int) -> Place | None:
        """The page after (step 1) or before (step -1) this one; None at the ends, and for pages not in the book."""
        if doc == self.root:
            return self.places[0] if step == 1 and self.places else None
        at = self._at.get(doc, -1) + step
        return self.places[at] if doc in self._at and 0 <= at < len(self.places) else None

    def title(self, place: Place) -> str:
        return place.title or self.env.titles[place.doc].astext()

    def number(self, place: Place) -> str:
        """The number of a page: "4" of a chapter, "4.1" of an idea's page; empty in a part without numbers."""
        return ".".join(map(str, self.env.toc_secnumbers.get(place.doc, {}).get("", ())))

    def called(self, place: Place) -> str:
        """What a page is called elsewhere: "Chapter 1", "Chapter 1, page 2 of 3: Heads", "The library"."""
        above = place.chapter
        if above is None or not self.number(above):
            return f"Chapter {number}" if (number := self.number(place)) and above is None else self.title(place)
        kind, alike = ("lab", above.labs) if place.is_lab else ("page", above.ideas)
        name = place.name if place.is_lab else self.title(place)
        which = f"{kind} {alike.index(place) + 1} of {len(alike)}"
        return f"Chapter {self.number(above)}, {which}" + (f": {name}" if name else "")

    def is_read(self, place: Place) -> bool:
        """Whether a page is read from top to bottom, as those of chapters and capstones are; the rest is looked up."""
        chapter = place.chapter or place
        return bool(self.number(chapter) or chapter.labs or not place.part)

    def minutes(self, place: Place) -> int:
        """About how long a page takes: of a lab as its first cell says, otherwise by its words."""
        known = self.env.metadata[place.doc]
        if place.is_lab and known["minutes"]:
            return int(known["minutes"])
        minutes = known["words"] / WORDS_PER_MINUTE
        return max(1, round(minutes)) if known["words"] < 1000 else 5 * round(minutes / 5)

    def about(self, place: Place) -> str:
        """The first paragraph of a page."""
        return str(self.env.metadata[place.doc]["about"])


def note_text(app: Sphinx, doctree: nodes.document) -> None:
    """Keep what other pages say of a page that is read now: to load it again for each of them takes seconds in all."""
    first = next(doctree.findall(nodes.section), doctree)
    opening = " ".join(child.astext() for child in first.children if not isinstance(child, nodes.section))
    said = SAID.search(" ".join(opening.split()))
    app.env.metadata[app.env.docname].update(
        about=first_paragraph(doctree),
        minutes=int(said[1] or 60) if said else None,
        words=len(doctree.astext().split()),
    )


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", note_text)
