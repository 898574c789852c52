"""Where am I, and what next: the line above a title, the card at the end, the side bar and what it remembers."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from site_project import CHAPTER, INDEX, ROOT, lab_cells, make_project, write_lab

from course_lib.site.build import build
from course_lib.site.paths import Project

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from course.contents import SAID, Contents, places

TOC = """\
format: jb-book
root: book/index
parts:
  - chapters:
      - file: book/start
  - caption: One part
    numbered: 1
    chapters:
      - file: book/chapter
        title: One
        sections:
          - file: labs/tiny
            title: "Lab: tiny"
          - file: labs/other
            title: "Lab: other"
      - file: book/second
        title: Two
        sections:
          - file: book/inside
            title: An idea
          - file: labs/inside
            title: "Lab: an idea"
          - file: book/more
            title: More
"""
PLACES = places(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8")))
LABS = [place for place in PLACES if place.is_lab]


def first_line(place):
    if place.is_lab:
        return nbformat.read(ROOT / f"{place.doc}.ipynb", as_version=4).cells[0].source.splitlines()[0]
    text = (ROOT / f"{place.doc}.md").read_text(encoding="utf8")
    return next(line for line in text.splitlines() if line.startswith("# "))


def test_a_lab_has_one_name_in_the_side_bar_and_on_the_first_page():
    index = (ROOT / "book" / "index.md").read_text(encoding="utf8")
    rows = {f"labs/{slug}": name for name, slug in re.findall(r"(?m)^\| \[(.+)\]\(\.\./labs/(\w+)\.ipynb\)", index)}
    assert {doc: name.casefold() for doc, name in rows.items()} == {lab.doc: lab.name.casefold() for lab in LABS}
    assert all(lab.title.startswith("Lab: ") for lab in LABS)


@pytest.mark.parametrize("place", [place for place in PLACES if place.title and not place.is_lab], ids=lambda p: p.doc)
def test_a_short_name_in_the_side_bar_is_how_its_page_begins(place):
    assert first_line(place).startswith(f"# {place.title}")


@pytest.mark.parametrize(("doc", "says"), [("book/capstone_moe", True), ("book/glossary", False)])
def test_a_page_of_a_part_without_numbers_says_how_long_it_takes_if_it_has_a_lab(doc, says):
    contents = Contents(SimpleNamespace(srcdir=ROOT, toc_secnumbers={}))
    assert contents.is_read(contents.find(doc)) == says


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.doc)
def test_a_lab_says_how_many_minutes_it_takes(lab):
    opening = nbformat.read(ROOT / f"{lab.doc}.ipynb", as_version=4).cells[0].source
    assert SAID.search(" ".join(opening.split()))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A book of two chapters: one of one page and two labs, and one of an overview, two pages and a lab."""
    project = Project(make_project(tmp_path_factory.mktemp("nav") / "book"))
    (project.root / "_toc.yml").write_text(TOC)
    book = project.root / "book"
    (book / "index.md").write_text(INDEX.replace("{launch}", "\n\n```{continue}\n```\n"))
    (book / "chapter.md").write_text(CHAPTER + "\n\nwords" * 1200)  # ten minutes
    (book / "start.md").write_text(
        "# Start here\n\nThis paragraph is long enough to describe what stands on its page.\n"
    )
    two = "# Two, and more\n\nThis paragraph is long enough to describe what the page says.\n\n"
    lead_on = "---\nmoved:\n  the-old-place: inside\n  another: more#the-new-place\n---\n"
    (book / "second.md").write_text(lead_on + two + "## Here\n\nA section.\n")
    idea = "# An idea: what it is\n\nThis paragraph is long enough to describe the idea of the page.\n\n"
    (book / "inside.md").write_text(f'{idea}## The old place\n\nMoved.\n\n<div data-predict="share"></div>\n')
    (book / "more.md").write_text("# More of it\n\nThe last page of all.\n\n## The new place\n\nMoved too.\n")
    tiny = lab_cells()
    tiny[0].source += " One exercise, about 7 minutes."
    write_lab(project.root, tiny)
    cells = [nbformat.v4.new_markdown_cell("# What else?\n\nOne exercise, about 25\nminutes.", id="title")]
    write_lab(project.root, cells, "other")
    cells = [nbformat.v4.new_markdown_cell("# Inside?\n\nOne exercise, about 30 minutes.", id="title")]
    write_lab(project.root, cells, "inside")
    with ThreadPoolExecutor(1) as pool:  # a browser of another test may have an event loop here
        pool.submit(build, root=project.root).result()
    return project.html


@pytest.fixture
def page(browser, site):
    """A page of a reader who has done nothing yet; `page.show(name)` opens one of the book."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.show = lambda name: page.goto((site / f"{name}.html").as_uri())
    page.second = (site / "book" / "second.html").as_uri()
    yield page
    assert page.errors == []
    context.close()


# Each page but the last: the line above its title, then the kind, title and way back of the card at its end.
WALK = {
    "book/index": (None, "Next, about 1 minute", "Start here", None),
    "book/start": ("about 1 minute", None, "One", None),
    "book/chapter": (
        "One part · Chapter 1 · about 10 minutes · 2 labs",
        "Next: Chapter 1, lab 1 of 2: tiny, about 7 minutes",
        "A tiny lab",
        "Start here",
    ),
    "labs/tiny": (None, "Next: Chapter 1, lab 2 of 2: other, about 25 minutes", "What else?", "Chapter 1"),
    "labs/other": (
        "Chapter 1, lab 2 of 2: other · about 25 minutes",
        "Next: Chapter 2, about 1 minute",
        "Two",
        "Chapter 1, lab 1 of 2: tiny",
    ),
    "book/second": (
        "One part · Chapter 2 · about 1 minute · 2 pages, 1 lab: about 1 hour",
        "Next: Chapter 2, page 1 of 2: An idea, about 1 minute",
        "An idea: what it is",
        None,
    ),
    "book/inside": (
        "Chapter 2, page 1 of 2: An idea · about 1 minute · its lab: about 30 minutes",
        "Next: Chapter 2, lab 1 of 1: an idea, about 30 minutes",
        "Inside?",
        "Chapter 2",
    ),
    "labs/inside": (
        "Chapter 2, lab 1 of 1: an idea · about 30 minutes",
        "Next: Chapter 2, page 2 of 2: More, about 1 minute",
        "More of it",
        "Chapter 2, page 1 of 2: An idea",
    ),
}


def test_the_line_above_a_title_says_where_one_is_and_the_card_at_the_end_leads_on(page):
    page.show("book/index")
    for (name, (line, kind, title, back)), following in zip(WALK.items(), [*list(WALK)[1:], "book/more"], strict=True):
        if line:
            assert page.locator("p.where").inner_text() == line, name
            where, heading = (page.locator(place).bounding_box() for place in ("p.where", ".bd-article h1"))
            assert where["y"] < heading["y"], name
        if kind:
            assert page.locator(".step-kind").inner_text() == kind, name
        assert page.locator(".step-title").inner_text() == title, name
        if back:
            assert page.locator(".step-back").inner_text() == f"Back: {back}", name
        page.locator(".step-next").click()
        page.wait_for_url(f"**/{following}.html")
        assert title in page.locator(".bd-article h1").inner_text(), name


def test_the_last_page_leads_back_only_and_a_tab_names_its_lab(page):
    page.show("book/more")
    assert page.locator(".step-next").count() == 0
    assert page.locator(".step-back").inner_text() == "Back: Chapter 2, lab 1 of 1: an idea"
    page.show("labs/other")
    assert page.title().startswith("Lab: other. What else?")


def test_only_the_current_chapter_is_open(page):
    second = ["2.1. An idea", "Lab: an idea", "2.2. More"]
    chapters = {
        "book/index": [],
        "labs/tiny": ["Lab: tiny", "Lab: other"],
        "book/second": second,
        "labs/inside": second,
    }
    for name, shown in chapters.items():
        page.show(name)
        inner = page.locator(".bd-links .toctree-l2 > a")
        assert [link.inner_text() for link in inner.all() if link.is_visible()] == shown


def test_the_pages_of_a_chapter_are_numbered_and_their_sections_are_not(page):
    page.show("book/inside")
    assert page.locator(".bd-article h1").inner_text().startswith("2.1. An idea: what it is")
    assert page.title().startswith("2.1. An idea: what it is")
    assert page.locator(".bd-article h2").inner_text().startswith("The old place")
    page.show("book/second")
    assert page.locator(".bd-article h2").inner_text().startswith("Here")


@pytest.mark.parametrize(("old", "new"), [("the-old-place", "inside"), ("another", "more")])
def test_the_old_address_of_a_section_leads_on(old, new, page):
    page.show("book/second")
    page.evaluate(f"location.hash = '{old}'")
    page.wait_for_url(f"**/{new}.html#the-*-place")
    page.goto("about:blank")
    page.goto(page.second + f"#{old}")
    page.wait_for_url(f"**/{new}.html#the-*-place")
    page.goto(page.second + "#here")
    assert page.url.endswith("second.html#here")


def test_the_current_page_is_in_view_in_a_long_side_bar_and_the_page_stays(page):
    page.set_viewport_size({"width": 1280, "height": 300})
    page.show("book/inside")
    box = page.locator(".bd-links a.current", has_text="An idea").bounding_box()
    assert 0 <= box["y"] <= 280
    assert page.evaluate("scrollY") == 0


def tick(page, text):
    return page.locator(".bd-links li > a", has_text=text).locator(".tick")


def test_what_was_done_is_remembered_and_shown_and_can_be_forgotten(page):
    page.show("book/index")
    assert not page.locator(".continue").is_visible()
    page.show("book/chapter")
    assert tick(page, "One").count() == 0
    quiz = page.locator("form.quiz")
    quiz.locator("[data-verdict=wrong] input").first.check()
    quiz.get_by_role("button", name="Check").click()
    assert tick(page, "One").count() == 0  # a wrong answer is not yet an answer
    quiz.locator("[data-verdict=right] input").check()
    quiz.get_by_role("button", name="Check").click()
    assert tick(page, "One").get_attribute("aria-label") == "1 of 2 done"
    page.locator(".steps").scroll_into_view_if_needed()
    page.locator(".bd-links .tick.done").wait_for()
    page.show("labs/tiny")
    assert tick(page, "One").get_attribute("aria-label") == "done"
    page.show("book/index")
    again = page.locator(".continue")
    assert again.inner_text().startswith("Continue with Chapter 1, lab 1 of 2: tiny")
    page.show("book/inside")
    page.show("book/index")
    assert again.locator(".continue-where").inner_text() == "Chapter 2, page 1 of 2: An idea"
    page.show("labs/tiny")
    page.show("book/index")
    again.get_by_role("link").click()
    assert page.locator(".bd-article h1").inner_text().startswith("A tiny lab")
    page.show("book/index")
    page.get_by_role("button", name="Forget").click()
    assert not page.locator(".continue").is_visible()
    assert page.locator(".tick").count() == 0
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('course:')).length") == 0


def test_a_prediction_counts_among_what_is_done(page):
    page.show("book/inside")
    page.locator(".bd-links .tick").first.wait_for()  # a short page is soon read
    assert tick(page, "2.1.").get_attribute("aria-label") == "1 of 2 done"
    page.evaluate("localStorage.setItem('course:predict:share', '50'); dispatchEvent(new Event('course:done'))")
    assert tick(page, "2.1.").get_attribute("aria-label") == "done"


def test_a_chapter_with_pages_is_done_when_all_of_them_are(page):
    page.show("book/second")
    page.locator(".bd-links .tick").wait_for()
    assert tick(page, "Two").get_attribute("aria-label") == "1 of 4 pages done"
    for name in ("inside", "more"):
        page.evaluate(f"localStorage.setItem('course:page:book/{name}', '2/2')")
    page.evaluate("localStorage.setItem('course:page:labs/inside', '1/2')")
    page.show("book/start")
    assert tick(page, "Two").get_attribute("aria-label") == "3 of 4 pages done"
    assert tick(page, "Two").evaluate("tick => tick.style.getPropertyValue('--share')") == "87.5%"
    page.evaluate("localStorage.setItem('course:page:labs/inside', '2/2')")
    page.show("book/start")
    assert tick(page, "Two").get_attribute("aria-label") == "done"


def test_a_browser_that_stores_nothing_shows_the_page_all_the_same(page):
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})")
    page.show("book/chapter")
    page.errors.clear()  # the theme's own
    quiz = page.locator("form.quiz")
    quiz.locator("[data-verdict=right] input").check()
    quiz.get_by_role("button", name="Check").click()
    assert quiz.locator(".quiz-why:visible").count() == 1
    assert page.errors == []
