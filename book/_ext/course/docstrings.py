"""A docstring, in Google style or in plain paragraphs, as nodes of a page. Only `code` is markup in it."""

from __future__ import annotations

import re

from docutils import nodes

LISTED = ("Args", "Attributes", "Raises", "Errors", "Keys")  # below these stand names, each with what it is
LABELS = (*LISTED, "Returns", "Yields", "Example", "Examples", "Note", "Source")
SHOWN = {"Args": "Arguments"}
LABELLED = re.compile(rf"({'|'.join(LABELS)}):(?:\s+(.*)|$)")
ITEM = re.compile(r"(\*{0,2}[\w.\[\], `/*-]+?)(?: \([^)]*\))?:\s+(.*)")  # "name: what it is"
BULLET = re.compile(r"(?:[-*]|\d+\.) +")


def docstring_nodes(doc: str | None) -> list[nodes.Node]:
    """The paragraphs, lists and sections of a cleaned docstring."""
    found: list[nodes.Node] = []
    for block in blocks((doc or "").splitlines()):
        label = LABELLED.match(block[0])
        if not label:
            found += text_nodes(block)
            continue
        title = nodes.strong("", SHOWN.get(label[1], label[1]))
        inside = dedented(block[1:])
        if label[2]:  # on one line, as "Source: Raffel et al. 2020."
            text = " ".join([label[2], *inside])
            found.append(nodes.paragraph("", "", title, nodes.Text(" "), *inline(text), classes=["doc-label"]))
        else:
            found.append(nodes.paragraph("", "", title, classes=["doc-label"]))
            found += section_nodes(label[1], inside)
    return found


def blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs, and sections with all that is indented below them."""
    found: list[list[str]] = []
    current: list[str] = []
    for line in lines:
        in_section = bool(current) and LABELLED.fullmatch(current[0]) and not LABELLED.match(current[0])[2]
        inside = not line.strip() or line.startswith(" ")
        if current and (not inside if in_section else not line.strip() or LABELLED.match(line)):
            found.append(current)
            current = []
        if current or line.strip():
            current.append(line)
    return [*found, current] if current else found


def section_nodes(label: str, lines: list[str]) -> list[nodes.Node]:
    """What is below `Args:` and its like: a list of names, else text."""
    if label not in LISTED:
        return [node for block in blocks(lines) for node in text_nodes(block)]
    items: list[list[str]] = []
    for line in lines:
        if line.startswith(" ") and items:
            items[-1].append(line.strip())
        elif line.strip():
            items.append([line])
    listed = nodes.definition_list(classes=["doc-items"])
    for item in items:
        text = " ".join(item)
        named = ITEM.fullmatch(text)
        if not named:
            return [node for block in blocks(lines) for node in text_nodes(block)]
        term = nodes.term("", "", nodes.literal("", named[1].strip("`")))
        listed += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *inline(named[2]))))
    return [listed]


def text_nodes(block: list[str]) -> list[nodes.Node]:
    """A paragraph, a list with bullets, or lines that keep their form because they are indented."""
    if all(line.startswith("    ") for line in block):
        text = "\n".join(dedented(block))
        return [nodes.literal_block(text, text, language="python" if ">>>" in text else "none")]
    start = next((i for i, line in enumerate(block) if BULLET.match(line)), len(block))
    found: list[nodes.Node] = []
    if start:
        found.append(nodes.paragraph("", "", *inline(" ".join(line.strip() for line in block[:start]))))
    if start < len(block):
        items: list[str] = []
        for line in block[start:]:
            if BULLET.match(line):
                items.append(line)
            else:
                items[-1] += " " + line.strip()
        listed = nodes.enumerated_list() if block[start][0].isdigit() else nodes.bullet_list()
        for item in items:
            listed += nodes.list_item("", nodes.paragraph("", "", *inline(BULLET.sub("", item, count=1))))
        found.append(listed)
    return found


def dedented(lines: list[str]) -> list[str]:
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[indent:] for line in lines]


def inline(text: str) -> list[nodes.Node]:
    """Text whose `code` is set as code."""
    parts = re.split(r"(`+)(.+?)\1", text)
    found: list[nodes.Node] = []
    for place, part in enumerate(parts):
        if place % 3 == 0 and part:
            found.append(nodes.Text(part))
        elif place % 3 == 2:
            found.append(nodes.literal("", part))
    return found
