"""The pages of the chapters: an overview, then a page for each idea, each before its lab; short, with few numbers."""

import re
import sys

import pytest
import yaml
from mdit_py_plugins.anchors.index import slugify
from site_project import ROOT

from course_lib import exercises
from course_lib.grader import render

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from course.contents import places

WORDS = 2500
WORDS_OF_A_CAPSTONE = 2800  # it goes through a whole project; its limits were cut to stay within the other number
NUMBERS = 2  # in a paragraph; more are a table
PREDICTIONS = 4  # at the turns of the story; what else a page asks, it answers in the next sentence
PLACES = places(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8")))
CHAPTERS = [place for place in PLACES if place.doc.startswith(("book/ch", "book/capstone_")) and place.chapter is None]
PAGES = [page for chapter in CHAPTERS if chapter.ideas for page in (chapter, *chapter.ideas)]
LABS = [place for place in PLACES if place.is_lab and place.chapter]

FENCE = re.compile(r"\s*(?P<marks>`{3,}|:{3,}|~{3,})(?:\{(?P<name>[\w:-]+)\})?(?P<rest>.*)")
NO_PROSE = {"list-table", "source", "image", "code", "code-block", "math", "explorer"}  # nor a fence without a name
ITEM = re.compile(r"\s*(?:[-*+]|\d+\.|\([ x]\)) ")


def lines_of_prose(text):
    """Yield each line that is read, and "" where a paragraph ends: no front matter, options, code, tables, nor what
    is folded for the expert."""
    inside = []  # the fences that are open: their marks, and whether what they hold is read
    for line in re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).splitlines():
        if fence := FENCE.fullmatch(line):
            yield ""
            name, rest = fence["name"], fence["rest"].strip()
            if inside and not name and not rest and fence["marks"].startswith(inside[-1][0]):
                inside.pop()
                continue
            if inside and not inside[-1][1] and inside[-1][0][0] != ":":
                continue  # a fence that is shown in a block of code
            expert = name == "admonition" and rest.lower().startswith("for the expert")
            prose = bool(name) and name not in NO_PROSE and not expert
            inside.append((fence["marks"], prose and all(read for _, read in inside)))
            if inside[-1][1]:
                yield rest
                yield ""
        elif all(read for _, read in inside) and not re.match(r"\s*:[\w-]+:|\s*\||\([\w-]+\)=$", line):
            if ITEM.match(line) or line.startswith("#"):
                yield ""
            yield line
            if line.startswith("#"):
                yield ""


def paragraphs(text):
    found = "\n".join(lines_of_prose(text)).split("\n\n")
    return [joined for part in found if (joined := " ".join(part.split()))]


def words(text):
    """What is read from top to bottom: no front matter, options, code, nor what a quiz says about its choices, nor what
    is folded: the evidence for a sceptic and the notes for an expert, without which the page is whole."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    folded = r"(?ms)^(?P<marks>:{3,})\{admonition\}[^\n]*\n:class: dropdown\n.*?^(?P=marks)$"
    text = re.sub(folded, "", text)
    text = re.sub(r"(?ms)^:::\{quiz\}.*?^:::$", lambda m: re.sub(r"(?m)^ {4}.*$", "", m[0]), text)
    block = r"(?ms)^[ ]*```(?:\{(?P<name>[\w:-]+)\})?[^\n]*\n(?P<inside>.*?)^[ ]*```$"
    text = re.sub(block, lambda m: m["inside"] if m["name"] and m["name"] not in NO_PROSE else "", text)
    text = re.sub(r"(?m)^\s*:[\w-]+:.*$|^\s*:{3,}(?:\{[\w:-]+\})?", "", text)
    text = re.sub(r"\{[\w:]+\}`[^`]*`", "word", text)
    return [word for word in text.split() if re.search(r"\w", word)]


def test_words_are_those_that_everybody_reads():
    page = """# One two

:::{admonition} For the expert
:class: dropdown
Folded, with {number}`a.b`.
:::

::::{admonition} How sure are we?
:class: dropdown
Folded.

:::{source} nn.moe
:::
::::

:::{admonition} You can
:class: tip
three
:::

Four {number}`a.b .1%` six.
"""
    assert words(page) == ["One", "two", "You", "can", "three", "Four", "word", "six."]


@pytest.mark.parametrize("chapter", [chapter for chapter in CHAPTERS if chapter.ideas], ids=lambda place: place.doc)
def test_a_chapter_is_an_overview_then_each_idea_before_its_lab(chapter):
    docs = [page.doc for page in chapter.pages]
    slugs = [doc.partition("/")[2] for doc in docs[::2]]
    assert docs == [doc for slug in slugs for doc in (f"book/{slug}", f"labs/{slug}")]
    assert all(page.title for page in chapter.pages)
    text = (ROOT / f"{chapter.doc}.md").read_text(encoding="utf8")
    assert [slug for slug in slugs if f"({slug}.md" not in text] == []  # it leads to each of its pages


def test_every_chapter_has_a_page_for_each_idea():
    assert [chapter.doc for chapter in CHAPTERS if not chapter.ideas] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda place: place.doc)
def test_a_page_is_read_in_one_sitting(page):
    most = WORDS_OF_A_CAPSTONE if page.doc.startswith("book/capstone_") else WORDS
    assert len(words((ROOT / f"{page.doc}.md").read_text(encoding="utf8"))) <= most


@pytest.mark.parametrize("page", PAGES, ids=lambda place: place.doc)
def test_a_paragraph_has_few_numbers(page):
    found = paragraphs((ROOT / f"{page.doc}.md").read_text(encoding="utf8"))
    assert [part for part in found if part.count("{number}") > NUMBERS] == []


def predictions(text):
    """The questions of the predictions of a page."""
    fences = filter(None, map(FENCE.fullmatch, text.splitlines()))
    return [fence["rest"].strip() for fence in fences if fence["name"] == "predict"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("book/*.md")), ids=lambda path: path.stem)
def test_a_page_asks_for_few_predictions(path):
    asked = predictions(path.read_text(encoding="utf8"))
    assert len(asked) <= PREDICTIONS, "keep those at the turns of the story:\n" + "\n".join(asked)


def test_the_home_page_gives_no_prediction_away():
    told = set(re.findall(r"\{number\}`(?:\w+:)?([\w.-]+)", (ROOT / "book" / "index.md").read_text(encoding="utf8")))
    pages = {page.doc: (ROOT / f"{page.doc}.md").read_text(encoding="utf8").splitlines() for page in PAGES}
    asked = [line for lines in pages.values() for line in lines if re.match(r":(bar|control|curve|order):", line)]
    assert told
    assert asked
    assert [line for line in asked if told & set(re.findall(r"[\w.-]+", line))] == []


@pytest.mark.parametrize("lab", LABS, ids=lambda place: place.doc)
def test_an_exercise_leads_to_a_section_of_the_page_of_its_lab(lab, monkeypatch, tmp_path):
    pages = [lab.chapter, *lab.chapter.ideas]
    texts = {page.doc: (ROOT / f"{page.doc}.md").read_text(encoding="utf8") for page in pages}
    headings = {doc: re.findall(r"(?m)^#+ (.+)$", text) for doc, text in texts.items()}
    (tmp_path / "_config.yml").write_text('repository:\n  url: "https://github.com/o/n"\n  branch: "main"\n')
    (tmp_path / "book").symlink_to(ROOT / "book")
    monkeypatch.setattr(render, "ROOT", tmp_path)
    for exercise in map(exercises.find, exercises.lab(lab.doc.partition("/")[2]).exercises):
        address = render.address(exercise.see)
        assert address, f"{exercise.id}: nothing is called {exercise.see!r}"
        if not exercise.see.startswith(("Chapter", "Primer")):
            continue  # a paper
        heading = exercise.see.partition(", ")[2]
        assert [doc for doc in headings for found in headings[doc] if found == heading] == [lab.reads.doc]
        assert address == f"https://github.com/o/n/blob/main/{lab.reads.doc}.md#{slugify(heading)}"


PAGE = """\
---
moved: {old: page}
---
(label)=
# A page of {number}`a`, {number}`b`

Some words {number}`a` and {number}`b`
go on {number}`c`.

- {number}`a`, {number}`b`
- {number}`c`

| a | {number}`a` | {number}`b` | {number}`c` |

```python
print("{number} {number} {number}")
```

::::{predict} A question?
:bar: {number} {number} {number}

:::{list-table}
* - {number}`a` {number}`b` {number}`c`
:::

Two {number}`a` {number}`b`.

Three {number}`a` {number}`b` {number}`c`.
::::

:::{admonition} For the expert
:class: dropdown
{number}`a` {number}`b` {number}`c`
:::

After it {number}`a` {number}`b` {number}`c` {number}`d`.
"""


def test_a_paragraph_is_running_text_and_neither_a_table_nor_for_the_expert():
    counts = {part.split("{")[0]: part.count("{number}") for part in paragraphs(PAGE)}
    assert {start: count for start, count in counts.items() if count > 2} == {
        "Some words ": 3,
        "Three ": 3,
        "After it ": 4,
    }
    assert counts["Two "] == 2
    assert not any("print" in part or ":bar:" in part or "moved" in part for part in paragraphs(PAGE))


def test_predictions_are_counted_by_their_fences():
    assert predictions(PAGE) == ["A question?"]
    assert predictions(":::{predict} One?\n:::\n```{predict} Two?\n```\nof a {predict}\n") == ["One?", "Two?"]


def test_words_are_what_there_is_to_read():
    page = "---\na: b\n---\n# One two\n\n:::{note} Three\n:class: tip\nfour {number}`x.y .1%` $x = 1$\n:::\n"
    assert len(words(page)) == 7
    assert words("```python\nno words\n```\n\nOne\n\n```{image} a.svg\n:alt: no\n```\n\ntwo\n") == ["One", "two"]
    assert words(":::{quiz} Why?\n(x) Because\n    It is so.\n:::\nIndeed\n") == ["Why?", "(x)", "Because", "Indeed"]
