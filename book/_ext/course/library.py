"""`{library}`: which paper's equation is where in `course_lib`, read from its docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from .lab import CourseDirective

# "(Vaswani et al. 2017, equation 1)" or "Source: Raffel et al. 2020, section 2.1." in a docstring.
NAME = r"(?:(?:Ben |de |van )?[A-Z][\w'’-]+(?: et al\.| and [A-Z][\w-]+)?|Olah and [A-Z]\w+)"
PLACE = r"(?:sections?|equations?|figure|algorithm|table|appendix) [\w.]*\w(?: (?:to|and) \d+)?"
CITED = re.compile(rf"{NAME} (?:19|20)\d\d(?:, {PLACE})?")


def sources(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(name, its first sentence, the sources that its docstring cites) of what is public below a folder."""
    for path in sorted(folder.rglob("*.py")):
        module = path.relative_to(folder.parent.parent).with_suffix("").as_posix().replace("/", ".")
        tree = ast.parse(path.read_text(encoding="utf8"))
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
        for node, name in ((tree, module), *((node, f"{module}.{node.name}") for node in public)):
            doc = ast.get_docstring(node) or ""
            if found := CITED.findall(" ".join(doc.split())):
                paragraph = " ".join(doc.split("\n\n")[0].split())
                first = re.split(r"(?<=[.:])\s+(?=[A-Z])", paragraph)[0]
                first = re.sub(rf"\s*\({CITED.pattern}\)", "", first).rstrip(".:")
                yield name, first, "; ".join(dict.fromkeys(found))


class LibraryDirective(CourseDirective):
    """A table of one room of `course_lib`: `{library} nn`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        import course_lib

        folder = Path(course_lib.__file__).parent / self.arguments[0]
        rows = [f"| `{name}` | {what.replace('|', chr(92) + '|')} | {where} |" for name, what, where in sources(folder)]
        return self.parsed("\n".join(["| Where | What | Source |", "| --- | --- | --- |", *rows]))


def setup(app: Sphinx) -> None:
    app.add_directive("library", LibraryDirective)
