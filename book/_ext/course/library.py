"""The pages of "The library", read from the source of `course_lib` without importing it.

`{library} nn` is a table: which paper's equation is where in a room. `{room} nn` lists all that is public in a room,
with its signature, its docstring and a link to its source, on GitHub where a repository is set, else in this site.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .docstrings import docstring_nodes, inline
from .lab import CourseDirective, configured

# "(Vaswani et al. 2017, equation 1)" or "Source: Raffel et al. 2020, section 2.1." in a docstring.
NAME = r"(?:(?:Ben |de |van )?[A-Z][\w'’-]+(?: et al\.| and [A-Z][\w-]+)?|Olah and [A-Z]\w+)"
PLACE = r"(?:sections?|equations?|figure|algorithm|table|appendix) [\w.]*\w(?: (?:to|and) \d+)?"
CITED = re.compile(rf"{NAME} (?:19|20)\d\d(?:, {PLACE})?")
PAGES = "book/library"  # the page of a room is below it, as are those with the source
Function = ast.FunctionDef | ast.AsyncFunctionDef


def library() -> Path:
    """The folder of `course_lib`."""
    import course_lib

    return Path(course_lib.__file__).parent


class Module:
    """One file of the library: its name below `course_lib`, its text and its syntax tree."""

    def __init__(self, folder: Path, path: Path) -> None:
        parts = path.relative_to(folder).with_suffix("").parts
        self.name = ".".join(part for part in parts if part != "__init__")
        self.path = path
        self.room = parts[0] if len(parts) > 1 else "shared"  # which has a page
        self.text = path.read_text(encoding="utf8")
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text)

    @property
    def full_name(self) -> str:
        return f"course_lib.{self.name}".rstrip(".")

    def members(self) -> dict[str, list[Function | ast.ClassDef]]:
        """Public functions and classes, by name; an overloaded function has several definitions."""
        return definitions(self.tree.body)

    def constants(self) -> list[str]:
        """Public constants and names of types, as written; only the name where the value is long."""
        found = []
        for node in self.tree.body:
            for name in assigned(node):
                lines = self.lines[node.lineno - 1 : node.end_lineno]
                found.append("\n".join(lines) if len(lines) <= 4 else f"{name} = ...")
        return found

    def signature(self, node: Function | ast.ClassDef) -> str:
        """The lines of a definition above its body, decorators included, as written."""
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        body = node.body[0]
        lines = self.lines[first - 1 : body_start(node) - 1]
        if body.lineno == node.lineno:  # "def f(x): ...", all on one line
            lines = [*self.lines[first - 1 : node.lineno - 1], self.lines[node.lineno - 1][: body.col_offset]]
        return "\n".join(line[node.col_offset :] for line in lines).rstrip()

    def outline(self, node: ast.ClassDef) -> str:
        """A class as its user meets it: its bases, its fields with their comments, and how it is made."""
        lines = [self.signature(node)]
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and assigned(part):
                first = part.lineno
                while self.lines[first - 2].lstrip().startswith("#"):
                    first -= 1
                lines += [line[node.col_offset :] for line in self.lines[first - 1 : part.end_lineno]]
            elif isinstance(part, Function) and part.name == "__init__":
                lines += ["    " + line for line in self.signature(part).splitlines()]
        return "\n".join(lines)


def body_start(node: Function | ast.ClassDef) -> int:
    first = node.body[0]
    return min([first.lineno, *(decorator.lineno for decorator in getattr(first, "decorator_list", []))])


def assigned(node: ast.stmt) -> list[str]:
    """The public names that a statement assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]


def definitions(body: list[ast.stmt]) -> dict[str, list[Function | ast.ClassDef]]:
    found: dict[str, list[Function | ast.ClassDef]] = {}
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            found.setdefault(node.name, []).append(node)
    return found


def modules(folder: Path, room: str, flat: bool = False) -> list[Module]:
    """The modules of a room that define something public; `flat` leaves out those in folders below it."""
    files = sorted((folder / room).glob("*.py" if flat else "**/*.py"))
    found = [Module(folder, path) for path in files if path.name == "__init__.py" or not path.name.startswith("_")]
    return [module for module in found if module.members() or module.constants()]


def sources(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(name, its first sentence, the sources that its docstring cites) of what is public below a folder."""
    for module in modules(folder.parent, folder.name):
        named = [(module.tree, module.full_name)]
        for name, nodes_ in module.members().items():
            named += [(node, f"{module.full_name}.{name}") for node in nodes_]
        for node, name in named:
            doc = ast.get_docstring(node) or ""
            if found := CITED.findall(" ".join(doc.split())):
                paragraph = " ".join(doc.split("\n\n")[0].split())
                first = re.split(r"(?<=[.:])\s+(?=[A-Z])", paragraph)[0]
                first = re.sub(rf"\s*\({CITED.pattern}\)", "", first).rstrip(".:")
                yield name, first, "; ".join(dict.fromkeys(found))


class LibraryDirective(CourseDirective):
    """A table of one room of `course_lib`: `{library} nn`. Each name leads to its place on the page of the room."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        room = self.arguments[0]
        found = sources(library() / room)
        rows = [
            f"| `{name.removeprefix('course_lib.')}` | {what.replace('|', chr(92) + '|')} | {where} |"
            for name, what, where in found
        ]
        table = self.parsed("\n".join(["| Where | What | Source |", "| --- | --- | --- |", *rows]))
        page = self.env.app.builder.get_relative_uri(self.env.docname, f"{PAGES}/{room}")
        for row in table[0].findall(nodes.row):
            for literal in list(row[0].findall(nodes.literal)):
                anchor = f"course_lib.{literal.astext()}"
                literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=f"{page}#{anchor}"))
        return table


class RoomDirective(CourseDirective):
    """Everything public in one room, module by module: `{room} nn`; `:flat:` leaves out the folders in it.

    First comes what the room's own docstring says below its first line, such as the order to read the modules in.
    """

    required_arguments = 1
    option_spec: ClassVar = {"flat": directives.flag}

    def run(self) -> list[nodes.Node]:
        room = (self.arguments[0], "flat" in self.options)
        self.env.metadata[self.env.docname]["room"] = room
        shown = modules(library(), *room)
        contents = nodes.bullet_list(classes=["library-contents"])
        for module in shown:
            link = nodes.reference("", "", nodes.literal("", module.name), refuri=f"#{module.full_name}")
            summary = " ".join((ast.get_docstring(module.tree) or "").split("\n\n")[0].split())
            contents += nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(" "), *inline(summary)))
        tree = Module(library(), library() / self.arguments[0] / "__init__.py").tree
        overview = (ast.get_docstring(tree) or "").partition("\n\n")[2]
        return [*docstring_nodes(overview), contents, *(self.module(module) for module in shown)]

    def module(self, module: Module) -> nodes.section:
        section = self.section(module.full_name, module.name)
        section += self.source_link(module, 1)
        section += docstring_nodes(ast.get_docstring(module.tree))
        if constants := module.constants():
            section += code("\n".join(constants))
        for name, defined in module.members().items():
            section += self.member(module, name, defined)
        return section

    def member(self, module: Module, name: str, defined: list[Function | ast.ClassDef]) -> nodes.section:
        section = self.section(f"{module.full_name}.{name}", name)
        section += self.described(module, defined)
        for node in defined:
            if not isinstance(node, ast.ClassDef):
                continue
            for method in definitions(node.body).values():
                if any(ast.get_docstring(part) for part in method):
                    section += nodes.container("", *self.described(module, method), classes=["library-method"])
        return section

    def described(self, module: Module, defined: list[Function | ast.ClassDef]) -> list[nodes.Node]:
        """The signatures, the link to the source, and what the docstring says."""
        outlines = [
            module.outline(node) if isinstance(node, ast.ClassDef) else module.signature(node) for node in defined
        ]
        docs = [doc for doc in map(ast.get_docstring, defined) if doc]
        return [
            code("\n".join(outlines)),
            self.source_link(module, defined[0].lineno),
            *docstring_nodes(docs[0] if docs else None),
        ]

    def section(self, anchor: str, title: str) -> nodes.section:
        section = nodes.section("", nodes.title("", "", nodes.literal("", title)), ids=[anchor], names=[anchor])
        section["support_smartquotes"] = False  # `--flag` and "batch tokens" stay as they are written
        return section

    def source_link(self, module: Module, line: int) -> nodes.paragraph:
        file, url = source_address(self.env, module, line)
        return nodes.paragraph("", "", nodes.reference("", file, refuri=url), classes=["library-source"])


def source_address(env: BuildEnvironment, module: Module, line: int) -> tuple[str, str]:
    """ "course_lib/nn/attention.py, line 12" and where that is: on GitHub if a repository is set, else in this site."""
    file = f"course_lib/{module.path.relative_to(library()).as_posix()}"
    repository = configured(env.srcdir)
    if repository and repository.on_github:
        return f"{file}, line {line}", f"{repository.url}/blob/{repository.ref}/{file}#L{line}"
    page = env.app.builder.get_relative_uri(env.docname, source_page(module.room))
    return f"{file}, line {line}", f"{page}#{module.full_name}-{line}"


def code(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="python", classes=["library-signature"])


def source_page(room: str) -> str:
    return f"{PAGES}/source/{room}"


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, object], str]]:
    """A page with the source of each room that has a page; none where the source is on GitHub.

    Not a page for each module: the theme takes a third of a second for a page, and there are hundreds.
    """
    if (repository := configured(app.srcdir)) and repository.on_github:
        return
    for page in sorted(app.env.found_docs):
        if room := app.env.metadata[page].get("room"):
            name_of_room = page.removeprefix(f"{PAGES}/")
            here = source_page(name_of_room)
            back = app.builder.get_relative_uri(here, page)
            title = f"Source of {name_of_room}"
            parts = [f"<h1>{title}</h1>"]
            for module in modules(library(), *room):
                name = module.full_name
                text = app.builder.highlighter.highlight_block(module.text, "python", linespans=name)
                parts.append(f'<h2 id="{name}">{name}</h2>\n<p><a href="{back}#{name}">What is in it</a></p>\n{text}')
            yield here, {"title": title, "body": "\n".join(parts), "parents": []}, "page.html"


def setup(app: Sphinx) -> None:
    app.add_directive("library", LibraryDirective)
    app.add_directive("room", RoomDirective)
    app.connect("html-collect-pages", source_pages)
