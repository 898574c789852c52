"""{source} nn.attention.attention: a function or class of `course_lib`, read at the build, with a link to its file.

`:docstring:` shows the docstring too; a method is `{source} nn.norms.RMSNorm.forward`.
"""

from __future__ import annotations

import ast
import textwrap
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx

from .lab import CourseDirective
from .library import Function, Module, library, source_address

Defined = Function | ast.ClassDef


def find(name: str) -> tuple[Module, Defined]:
    """The module and the definition that a dotted name below `course_lib` stands for. Errors: LookupError."""
    parts = name.removeprefix("course_lib.").split(".")
    for cut in range(len(parts) - 1, 0, -1):
        base = library().joinpath(*parts[:cut])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if not path.is_file():
                continue
            module = Module(library(), path)
            node: Any = module.tree
            for part in parts[cut:]:
                inside = [n for n in getattr(node, "body", ()) if isinstance(n, Defined)]
                node = next((n for n in inside if n.name == part), None)
            if node is not None:
                return module, node
    raise LookupError(name)


def text_of(module: Module, node: Defined, docstring: bool = False) -> str:
    """The source as it is written, by default without the docstring of the function or class itself."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    lines = module.lines[first - 1 : node.end_lineno]
    if not docstring and ast.get_docstring(node) and len(node.body) > 1:
        begin, end = node.body[0].lineno - first, node.body[0].end_lineno - first + 1
        while not lines[end].strip():  # the line between the docstring and what follows
            end += 1
        del lines[begin:end]
    return textwrap.dedent("\n".join(lines))


class SourceDirective(CourseDirective):
    required_arguments = 1
    option_spec: ClassVar = {"docstring": directives.flag}

    def run(self) -> list[nodes.Node]:
        try:
            module, node = find(self.arguments[0])
        except LookupError:
            raise self.error(f"course_lib defines no {self.arguments[0]}") from None
        text = text_of(module, node, "docstring" in self.options)
        file, url = source_address(self.env, module, node.lineno)
        link = nodes.reference("", file, refuri=url)
        return [
            nodes.container(
                "",
                nodes.literal_block(text, text, language="python"),
                nodes.paragraph("", "", link, classes=["library-source"]),
                classes=["course-source"],
            )
        ]


def setup(app: Sphinx) -> None:
    app.add_directive("source", SourceDirective)
