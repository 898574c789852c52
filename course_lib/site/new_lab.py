"""`course new-lab SLUG`: a lab that runs, with exercise, bands, page and entries, for an author to fill in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template

import nbformat

from course_lib.exercises import lab_of, labs
from course_lib.files import write_text
from course_lib.site.build import read_lab
from course_lib.site.cache import SETUP_CELL
from course_lib.site.paths import Project, SiteError, find_project

TEMPLATES = Path(__file__).parent / "new_lab_templates"
LONGEST = 100  # characters of a title and of a question, which is a row of a table
CHAPTER = re.compile(r"      - file: book/ch(\d\d)_")  # in _toc.yml
PART = re.compile(r"  - caption: |    (numbered|chapters):")
SLUG = re.compile(r"(ch\d\d|capstone)_[a-z][a-z0-9_]*")


def new_lab(slug: str, title: str = "", question: str = "", root: Path | None = None) -> list[Path]:
    """Write a lab from the template: notebook, exercise, bands, the page of its idea, entries in both tables.

    The new lab passes every test as it is, so that an author can replace one thing at a time. A chapter that is not
    there yet gets an overview too.

    Args:
        slug: The name of the lab, `chNN_name` or `capstone_name`.
        title: The heading of the notebook; by default the name in words.
        question: The question of the lab, one sentence for the index page.
        root: A folder of the checkout; by default the working directory.

    Returns:
        The files that are new or changed.

    Raises:
        SiteError: If the name does not have this form or is taken, or a text is too long; then nothing is written.
    """
    project = find_project(root)
    if not SLUG.fullmatch(slug):
        raise SiteError(f"{slug} is no name for a lab; take chNN_name or capstone_name, as ch05_in_context")
    chapter, name = slug.split("_", 1)
    exercise = f"{name}_accuracy"
    if (project.labs / f"{slug}.ipynb").exists() or slug in labs():
        raise SiteError(f"there is a lab {slug} already; choose another name")
    if lab_of(exercise):
        raise SiteError(f"the template would make an exercise {exercise}, which is there already; choose another name")
    if len(title) > LONGEST or len(question) > LONGEST:
        raise SiteError(f"title and question are one line each: at most {LONGEST} characters")
    short = name.replace("_", " ").capitalize()
    words = {
        "slug": slug,
        "key": slug.replace("_", "-"),
        "short": short,
        "title": title or short,
        "question": question or f"What can be measured about {name.replace('_', ' ')}, and what would refute it?",
        "exercise": exercise,
        "chapter": f"Chapter {int(chapter[2:])}" if chapter != "capstone" else "Capstone",
    }
    words["heading"] = short if words["title"] == short else f"{short}: {words['title']}"
    words["see"] = f"{words['chapter']}, {short}: what we measured"  # the section that the page gets
    overview, idea = _overview(project, chapter), project.root / "book" / f"{slug}.md"
    new = {
        project.labs / f"{slug}.ipynb": _notebook(project, words),
        project.library / "exercises" / slug / "__init__.py": _fill("exercises_init.py", words),
        project.library / "exercises" / slug / f"{exercise}.py": _fill("exercise.py", words),
        project.library / "measure" / "expected" / f"{words['key']}.toml": _fill("bands.toml", words),
        overview: _with(overview, "overview.md", "overview_line.md", words),
        idea: _with(idea, "page.md", "section.md", words),
        project.root / "_toc.yml": _with_entry(project, overview, idea, words),
        project.root / "book" / "index.md": _with_row(project, words),
    }
    for path, text in new.items():
        write_text(path, text)
    return list(new)


def _fill(template: str, words: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.template").read_text(encoding="utf8")
    literals = {f"{name}_literal": _literal(word) for name, word in words.items()}
    return Template(text).safe_substitute(words, **literals)  # safe: formulas have dollar signs too


def _literal(text: str) -> str:
    """Return a string as a Python literal, as ruff would write it."""
    return repr(text) if '"' in text else json.dumps(text, ensure_ascii=False)


def _notebook(project: Project, words: dict[str, str]) -> str:
    notebook = nbformat.reads((TEMPLATES / "notebook.ipynb.template").read_text(encoding="utf8"), as_version=4)
    for cell in notebook.cells:
        if cell.id == SETUP_CELL:  # as in the other labs, with the fork's address where it is set
            first = read_lab(project, project.lab_slugs()[0])
            cell.source = next(other.source for other in first.cells if other.get("id") == SETUP_CELL)
        else:
            cell.source = Template(cell.source).safe_substitute(words)
    return nbformat.writes(notebook) + "\n"


def _overview(project: Project, chapter: str) -> Path:
    """Return the first page of a chapter, whether it is there yet or not."""
    pages = (name for name in project.documents() if name.startswith(f"book/{chapter}_"))
    return project.root / f"{next(pages, f'book/{chapter}_overview')}.md"


def _with(page: Path, template: str, addition: str, words: dict[str, str]) -> str:
    """Return a page, begun from a template if it is not there, with an addition before its closing words."""
    text = page.read_text(encoding="utf8") if page.is_file() else _fill(template, words)
    added = _fill(addition, words)
    before, closing, after = text.partition("## Where to go next")
    return before + added + closing + after if closing else text.rstrip("\n") + "\n\n" + added


def _with_entry(project: Project, overview: Path, idea: Path, words: dict[str, str]) -> str:
    """Return `_toc.yml` with the lab, and the page of its idea, at the end of its chapter.

    A new chapter precedes the later ones, and the reference part.
    """
    lines = (project.root / "_toc.yml").read_text(encoding="utf8").splitlines()
    chapter = f"      - file: book/{overview.stem}"
    if chapter not in lines:
        number = overview.stem.split("_")[0].removeprefix("ch")  # of a capstone a word, which comes after all numbers
        later = (i for i, line in enumerate(lines) if (m := CHAPTER.match(line)) and m[1] > number)
        reference = (i for i, line in enumerate(lines) if line.strip() == "- caption: Reference")
        at = next(later, next(reference, len(lines)))
        while at and PART.match(lines[at - 1]):  # the later chapter begins a part
            at -= 1
        lines.insert(at, chapter)
    end = lines.index(chapter) + 1
    while end < len(lines) and lines[end].startswith("        "):  # what belongs to the chapter
        end += 1
    entries = [f"          - file: book/{idea.stem}", f"            title: {words['short']}"]
    entries += [f"          - file: labs/{words['slug']}", f'            title: "Lab: {words["short"].lower()}"']
    if "        sections:" not in lines[lines.index(chapter) : end]:
        entries = ["        sections:", *entries]
    lines[end:end] = entries
    return "\n".join(lines) + "\n"


def _with_row(project: Project, words: dict[str, str]) -> str:
    """Return the index page with the lab added to its table, in the order of the course."""
    text = (project.root / "book" / "index.md").read_text(encoding="utf8")
    rows = re.finditer(r"(?m)^\| \[.+\]\(\.\./labs/([a-z0-9]+)_\w+\.ipynb\).*\n", text)
    ends = [row.end() for row in rows if row[1] <= words["slug"].split("_")[0]]
    end = max(ends, default=len(text))
    row = f"| [{words['short']}](../labs/{words['slug']}.ipynb) | {words['question']} |\n"
    return text[:end] + row + text[end:]
