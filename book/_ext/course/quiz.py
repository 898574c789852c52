"""A question with plain HTML radios and an explanation for every choice.

    :::{quiz} Why are scores divided by the square root of d?
    :id: scale
    :kind: sum
    ( ) First choice.
        Its explanation.
    (x) Right choice.
        Its explanation.
    :::

The choices are shown in an order of their own, shuffled by the id. A quiz stands in the section whose idea it asks
for, and a wrong answer links back there. `:kind:` says what a question needs, if anything special: a `sum`, a
`picture`, or an eye for what was `not shown`. Without scripts every explanation is in view; `course.js` folds them away
and adds a button that checks the answer.
"""

from __future__ import annotations

import random
import re
import textwrap
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

KINDS = {"sum": "a sum", "picture": "look at the picture", "not shown": "what was not shown"}
CHOICE = re.compile(r"\((?P<mark>[ xX])\)\s+(?P<text>\S.*)")


class quiz(nodes.General, nodes.Element):
    """A question; children: quiz_legend, then quiz_choice."""


class quiz_legend(nodes.General, nodes.TextElement):
    pass


class quiz_choice(nodes.General, nodes.Element):
    """One choice; children: quiz_label, then the blocks of its explanation."""


class quiz_label(nodes.General, nodes.TextElement):
    pass


class QuizDirective(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {
        "id": directives.unchanged_required,
        "kind": lambda kind: directives.choice(kind, tuple(KINDS)),
    }

    def run(self) -> list[nodes.Node]:
        name = self.options.get("id")
        if not name or not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise self.error("a quiz needs `:id:` in lower-case letters, digits and hyphens")
        try:
            found = choices(list(self.content))
        except ValueError as error:
            raise self.error(f"quiz {name}: {error}") from None
        out = quiz("", name=name, kind=self.options.get("kind"))
        out += quiz_legend("", "", *self.inline(self.arguments[0]))
        for number, (right, text, why) in enumerate(shuffled(found, name), 1):
            choice = quiz_choice("", name=name, number=number, right=right)
            choice += quiz_label("", "", *self.inline(text))
            self.parse(why, choice)
            out += choice
        return [out]

    def parse(self, text: str, into: nodes.Element) -> None:
        self.state.nested_parse(StringList(text.splitlines(), self.get_source_info()[0]), self.content_offset, into)

    def inline(self, text: str) -> list[nodes.Node]:
        """Markdown within one line."""
        holder = nodes.Element()
        self.parse(text, holder)
        return [child for block in holder.children for child in block.children]


def choices(lines: list[str]) -> list[tuple[bool, str, str]]:
    """(is right, text, explanation) of each choice. Errors: ValueError that says what a quiz needs."""
    found: list[tuple[bool, str, list[str]]] = []
    for line in lines:
        if match := CHOICE.match(line):
            found.append((match["mark"] != " ", match["text"].strip(), []))
        elif found and (not line.strip() or line.startswith((" ", "\t"))):
            found[-1][2].append(line)
        elif line.strip():
            raise ValueError(f"a quiz has choices such as `( ) text` with indented explanations, not {line!r}")
    if len(found) < 2:
        raise ValueError("a quiz needs at least two choices")
    if sum(right for right, _, _ in found) != 1:
        raise ValueError("a quiz needs exactly one right choice, marked (x)")
    out = [(right, text, textwrap.dedent("\n".join(why)).strip()) for right, text, why in found]
    for number, (_, _, why) in enumerate(out, 1):
        if not why:
            raise ValueError(f"choice {number} needs an explanation, indented on the lines below it")
    return out


def shuffled(found: list[tuple[bool, str, str]], name: str) -> list[tuple[bool, str, str]]:
    """The choices in the order of the page, the same in every build."""
    return random.Random(name).sample(found, len(found))


def visit_quiz(self: Any, node: quiz) -> None:
    self.body.append(f'<form class="quiz" id="quiz-{node["name"]}"><fieldset>')


def depart_quiz(self: Any, node: quiz) -> None:
    self.body.append("</fieldset></form>\n")


def visit_legend(self: Any, node: quiz_legend) -> None:
    self.course_questions = getattr(self, "course_questions", 0) + 1  # the translator lives for one page
    kind = f": {KINDS[node.parent['kind']]}" if node.parent["kind"] else ""
    self.body.append(f'<legend><span class="quiz-kind">Question {self.course_questions}{kind}</span> ')


def depart_legend(self: Any, node: quiz_legend) -> None:
    self.body.append("</legend>\n")


def visit_choice(self: Any, node: quiz_choice) -> None:
    state = "right" if node["right"] else "wrong"
    self.body.append(f'<div class="quiz-choice" data-verdict="{state}">')


def depart_choice(self: Any, node: quiz_choice) -> None:
    section: nodes.Node | None = None if node["right"] else node.parent
    while section is not None and not isinstance(section, nodes.section):
        section = section.parent
    if section is not None and (title := section.next_node(nodes.title)) is not None:
        back = f'<a href="#{escape(section["ids"][0])}">{escape(title.astext())}</a>'
        self.body.append(f'<p class="quiz-back">Look again: {back}</p>')
    self.body.append("</div></div>\n")


def visit_label(self: Any, node: quiz_label) -> None:
    choice = node.parent
    self.body.append(f'<label><input type="radio" name="{escape(choice["name"])}" value="{choice["number"]}"><span>')


def depart_label(self: Any, node: quiz_label) -> None:
    verdict = "Right." if node.parent["right"] else "Not quite."
    self.body.append(f'</span></label><div class="quiz-why"><strong class="quiz-verdict">{verdict}</strong> ')


def nothing(self: Any, node: nodes.Node) -> None:
    pass


def setup(app: Sphinx) -> None:
    pairs = {
        quiz: (visit_quiz, depart_quiz),
        quiz_legend: (visit_legend, depart_legend),
        quiz_choice: (visit_choice, depart_choice),
        quiz_label: (visit_label, depart_label),
    }
    for kind, html in pairs.items():
        app.add_node(kind, html=html, latex=(nothing, nothing), text=(nothing, nothing))
    app.add_directive("quiz", QuizDirective)
