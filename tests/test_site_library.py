"""The pages of "The library": all that is public in `course_lib` is on them, with its docstring and its source."""

import ast
import re
import shutil

import pytest
import yaml
from site_project import ROOT, make_project

from course_lib.site.build import build
from course_lib.site.configure import configure
from course_lib.site.paths import Project

LIB = ROOT / "course_lib"
LABS = {path.parent for path in (LIB / "exercises").glob("*/__init__.py")}
NEW = '''

def halve(x: Float[Tensor, "batch d_model"], times: int = 1) -> Float[Tensor, "batch d_model"]:
    """Half of `x`.

    Args:
        x: What is halved, `--often`.
        times: How often,
            one after another.

    Returns:
        The half.

    Raises:
        ValueError: times is negative.

    Source: Halver et al. 2019, equation 2.
    """
'''


@pytest.fixture(autouse=True)
def _extension(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))


def pages():
    """The pages of the rooms, as the book's table of contents has them."""
    chapters = [
        chapter for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"] for chapter in part["chapters"]
    ]
    return next(chapter["sections"] for chapter in chapters if chapter["file"] == "book/library")


@pytest.fixture(scope="module")
def built():
    """The folder of the library's pages in the built book; it is built now when something has changed."""
    build(root=ROOT)
    return Project(ROOT).html / "book" / "library"


def book_of_nn(folder):
    """A book of one page of the library, `nn`, in which `nn.norms` has one function more."""
    project = Project(make_project(folder))
    (project.root / "book" / "library").mkdir()
    shutil.copy(ROOT / "book" / "library" / "nn.md", project.root / "book" / "library")
    (project.root / "_toc.yml").write_text("format: jb-book\nroot: book/library/nn\n")
    (project.labs / "tiny.ipynb").unlink()  # the contents do not list it
    norms = project.library / "nn" / "norms.py"
    norms.write_text(norms.read_text() + NEW)
    return project


def text_of(built, page):
    return (built / f"{page}.html").read_text(encoding="utf8")


def public():
    """(page, anchor) of every public function and class, found without the extension."""
    for path in sorted(LIB.rglob("*.py")):
        if path.parent in LABS or path.name == "__main__.py":
            continue
        parts = path.relative_to(LIB).with_suffix("").parts
        module = ".".join(["course_lib", *parts]).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            if not getattr(node, "name", "_").startswith("_"):
                yield (parts[0] if (LIB / parts[0]).is_dir() else "shared"), f"{module}.{node.name}"


@pytest.mark.book
def test_every_public_name_of_every_room_is_on_its_page_once(built):
    names = set(public())
    assert len(names) > 500
    texts = {room: text_of(built, room) for room, _ in names}
    absent = [name for room, name in sorted(names) if texts[room].count(f'<section id="{name}">') != 1]
    assert not absent


@pytest.mark.book
def test_links_between_the_tables_the_pages_and_the_sources_lead_somewhere(built):
    files = [*built.rglob("*.html"), built.with_suffix(".html")]
    texts = {path: path.read_text(encoding="utf8") for path in files}
    anchors = {path: set(re.findall(r' id="([^"]+)"', text)) for path, text in texts.items()}
    broken = set()
    for path, text in texts.items():
        for target, anchor in re.findall(r'href="([^":#]*)#(course_lib[^"]*)"', text):
            found = (path.parent / target).resolve() if target else path
            if anchor not in anchors.get(found, ()):
                broken.add((path.name, target, anchor))
    assert not broken
    assert "Vaswani et al. 2017, equation 1" in texts[built.with_suffix(".html")]


def test_a_new_function_appears_with_its_signature_its_sections_and_its_source_here_or_on_github(tmp_path):
    project = book_of_nn(tmp_path / "book")
    build(root=project.root)
    built = project.html / "book" / "library"
    entry = text_of(built, "nn").split('<section id="course_lib.nn.norms.halve">')[1].split("</section>")[0]
    text = re.sub(r"<[^>]+>", "", entry.replace("</dt>", "\n")).replace("&quot;", '"').replace("&gt;", ">")
    text = " ".join(text.split())
    assert 'def halve(x: Float[Tensor, "batch d_model"], times: int = 1) -> Float[Tensor, "batch d_model"]:' in text
    assert "Half of x. Arguments x What is halved, --often. times How often, one after another." in text
    assert "Returns The half. Raises ValueError times is negative. Source Halver et al. 2019, equation 2." in text
    assert entry.count("<dt>") == 3
    page, line = re.search(r'href="(source/[^"#]+)#(course_lib\.nn\.norms-\d+)"', entry).groups()
    source = (built / page).read_text(encoding="utf8")
    shown = re.search(rf'<span id="{line}">(.*)', source)[1]
    assert re.sub(r"<[^>]+>", "", shown).startswith("def halve(x: Float")

    configure("https://github.com/ana/course", ref="v1", root=project.root)
    build(root=project.root)
    page = text_of(built, "nn")
    assert re.search(r'href="https://github.com/ana/course/blob/v1/course_lib/nn/attention\.py#L\d+"', page)
    assert not (built / "source").exists(), "sources are on GitHub where a repository is set"


def test_every_folder_of_the_library_has_a_page():
    rooms = {path.parent.name for path in LIB.glob("*/__init__.py")} | {"shared"}
    assert {section["file"] for section in pages()} == {f"book/library/{room}" for room in rooms}
    overview = (ROOT / "book" / "library.md").read_text()
    assert set(re.findall(r"\(library/(\w+)\.md\)", overview)) == rooms


@pytest.mark.parametrize(
    ("doc", "shown"),
    [
        (None, []),
        ("One line.", ["One line."]),
        ("A.\n\nRaises E if *x*.\nSource: Mills 1973.", ["A.", "Raises E if *x*.", "Source Mills 1973."]),
        ("First.\n\nErrors: SiteError when\nit fails.", ["First.", "Errors SiteError when it fails."]),
        ("Run it:\n\n    course lab\n      now", ["Run it:", "course lab\n  now"]),
        ("Do:\n\n1. One\n   thing.\n2. Two.", ["Do:", "One thing.\n\nTwo."]),
        ("D.\n\nYields:\n    Batches of `n`.\n\nAfter.", ["D.", "Yields", "Batches of n.", "After."]),
        ("D.\n\nArgs:\n    *args: All.\n    b (int): One.", ["D.", "Arguments", "*args\n\nAll.\n\nb\n\nOne."]),
        ("D.\n\nRaises:\n    whatever torch raises.", ["D.", "Raises", "whatever torch raises."]),
    ],
)  # fmt: skip
def test_docstrings_are_read_in_either_style(doc, shown):
    from course.docstrings import docstring_nodes

    assert [node.astext() for node in docstring_nodes(doc)] == shown


WRITTEN = '''
LIMIT = 3  # at most
_HIDDEN = 4


@dataclass
class Config:
    """C."""

    # one a head
    n: int = 1
    _secret: int = 2

    @property
    def twice(self) -> int:
        return 2

    def __init__(self) -> None: ...


@overload
def f(x: int) -> int: ...
@overload
def f(x: str) -> str: ...
def f(x):
    return x
'''


def test_signatures_are_shown_as_written(tmp_path):
    from course.library import Module

    (tmp_path / "m.py").write_text(WRITTEN)
    module = Module(tmp_path, tmp_path / "m.py")
    assert module.constants() == ["LIMIT = 3  # at most"]
    members = module.members()
    assert module.outline(members["Config"][0]) == (
        "@dataclass\nclass Config:\n    # one a head\n    n: int = 1\n    def __init__(self) -> None:"
    )
    assert [module.signature(node) for node in members["f"]] == [
        "@overload\ndef f(x: int) -> int:",
        "@overload\ndef f(x: str) -> str:",
        "def f(x):",
    ]
