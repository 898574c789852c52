"""The built site in a real browser: every page, over http and as a file, light, dark and as wide as a phone."""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import yaml
from site_project import INDEX, ROOT, make_project

from course_lib.data.packages.fetching import fetch
from course_lib.site.build import build
from course_lib.site.paths import Project
from course_lib.site.serve import server

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from course import contents

PROJECT = Project(ROOT)
PAGES = [*PROJECT.documents(), "search"]
ONE_OF_EACH = ["book/index", "book/ch04_peft", "labs/ch01_attention", "book/library/nn", "search"]

pytestmark = pytest.mark.book


def has_quiz(name):
    source = ROOT / f"{name}.md"
    return source.is_file() and "{quiz}" in source.read_text(encoding="utf8")


def build_in_a_thread(root):
    """Build a book; in a thread, since this one has Playwright's event loop, and labs run in a loop of their own."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(build, root=root).result()


@pytest.fixture(scope="module")
def site(browser):
    """The folder of the built site; built now when something has changed."""
    build_in_a_thread(ROOT)
    return PROJECT.html


@pytest.fixture(scope="module")
def http(site):
    with server(site, 8600) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def unfold(page):
    """Show what waits for the reader's answers: all predictions and what follows them."""
    page.evaluate("for (const f of document.querySelectorAll('.predict-after, .predict-rest')) f.hidden = false")
    page.evaluate("for (const p of document.querySelectorAll('.predict')) p.classList.add('shown')")


@contextmanager
def watched(browser, width=1280):
    """A page that remembers what it asked of other hosts and what went wrong: `page.elsewhere`, `page.errors`."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.elsewhere, page.errors = [], []
    near = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")
    page.on("request", lambda request: request.url.startswith(near) or page.elsewhere.append(request.url))
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("response", lambda response: response.status >= 400 and page.errors.append(response.url))
    left = "net::ERR_ABORTED"  # the page was left before it had come
    page.on("requestfailed", lambda request: request.failure == left or page.errors.append(f"{request.url} failed"))
    yield page
    context.close()


@pytest.fixture
def page(browser):
    """A page for one test."""
    with watched(browser) as page:
        yield page


@pytest.fixture(scope="module", params=PAGES)
def loaded(request, browser, site):
    """Each page, loaded once for all tests that look at it, on a phone, and as a file, which may do less than http.

    The tests leave it wider and unfolded: `axe` comes last, and then what went wrong in all this time.
    """
    with watched(browser, width=390) as page:
        page.name = request.param
        settle(page, (site / f"{request.param}.html").as_uri())
        yield page


def settle(page, address):
    """Open a page and wait until its formulas are drawn."""
    page.goto(address, wait_until="load")
    page.wait_for_function("!document.querySelector('.math') || window.MathJax?.startup?.promise !== undefined")
    page.evaluate("window.MathJax?.startup?.promise")


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_page_over_http_asks_no_other_host_and_reports_no_error(name, page, http):
    settle(page, f"{http}/{name}.html")
    page.wait_for_timeout(300)
    assert page.elsewhere == []
    assert page.errors == []


def test_the_front_door_leads_to_the_first_page(page, http, site):
    for address in (f"{http}/", (site / "index.html").as_uri()):
        page.goto(address)
        page.wait_for_url(f"**/{PAGES[0]}.html")
        assert page.errors == []


def hangs_over_the_edge(page):
    """The first elements that reach beyond the right edge of the window, or None when the page does not scroll."""
    width = page.viewport_size["width"]
    culprits = """width => [...document.querySelectorAll('.bd-article *')]
        .filter(e => e.getBoundingClientRect().right > width + 1).slice(0, 3).map(e => e.outerHTML.slice(0, 120))"""
    wide = page.evaluate("document.documentElement.scrollWidth")
    return None if wide <= width else page.evaluate(culprits, width)


def test_nothing_hangs_over_the_edge_of_a_phone(loaded):
    assert hangs_over_the_edge(loaded) is None


def test_nothing_hangs_over_the_edge_of_a_tablet(loaded):
    loaded.set_viewport_size({"width": 820, "height": 844})
    assert hangs_over_the_edge(loaded) is None


def test_the_code_of_a_cell_fits_beside_the_contents(loaded):
    loaded.set_viewport_size({"width": 1280, "height": 900})
    cells = "[...document.querySelectorAll('div.cell_input pre')].filter(e => e.offsetParent)"
    wide = f"{cells}.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText.slice(0, 80))"
    assert loaded.evaluate(wide) == []


def test_formulas_are_drawn_and_pictures_described(loaded):
    assert loaded.locator("mjx-merror").count() == 0
    assert loaded.locator(".bd-article .math").count() <= loaded.locator("mjx-container").count()
    bare = "[...document.querySelectorAll('.bd-article img, .bd-article svg[role=img]')]"
    bare += ".filter(e => !(e.alt || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')))"
    assert loaded.evaluate(bare + ".map(e => e.outerHTML.slice(0, 150))") == []
    broken = "[...document.images].filter(e => e.complete && !e.naturalWidth).map(e => e.src)"
    assert loaded.evaluate(broken) == []


def test_a_quiz_works_from_the_keyboard_alone(loaded):
    unfold(loaded)
    page, quizzes = loaded, loaded.locator("form.quiz").all()
    assert bool(quizzes) == has_quiz(page.name)
    for quiz in quizzes:
        status = quiz.get_by_role("status")
        assert quiz.locator(".quiz-why:visible").count() == 0
        quiz.get_by_role("button", name="Check").focus()
        page.keyboard.press("Enter")
        assert status.inner_text() == "Choose an answer first."
        radios = quiz.locator("input")
        radios.first.focus()
        page.keyboard.press("Space")
        for number in range(radios.count()):
            if number:
                page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
            choice = quiz.locator(".quiz-choice").nth(number)
            assert choice.locator(".quiz-why").is_visible()
            assert choice.locator(".quiz-why").text_content() == status.text_content()
        assert quiz.locator(".quiz-verdict", has_text="Right.").count() == 1


def test_every_page_of_a_chapter_has_a_quiz_but_an_overview_needs_none():
    places = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    pages = [place for place in contents.places(places) if place.doc.startswith("book/ch")]
    assert [place.doc for place in pages if not place.ideas and not has_quiz(place.doc)] == []


def test_the_line_above_the_title_of_an_idea_says_how_long_its_lab_takes(site):
    for lab in contents.places(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))):
        if lab.is_lab and not lab.reads.ideas and len(lab.reads.labs) < 2:
            line = re.search(r'<p class="where".*?</p>', (site / f"{lab.reads.doc}.html").read_text(encoding="utf8"))[0]
            own = re.search(r'<p class="where".*?</p>', (site / f"{lab.doc}.html").read_text(encoding="utf8"))[0]
            assert re.search(r"about \d+ minutes", own)[0] in line.partition("its lab")[2], lab.doc


def test_a_chapter_has_the_number_of_its_name(site):
    for place in contents.places(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))):
        if place.chapter is None and (named := re.match(r"book/ch(\d+)_", place.doc)):
            page = (site / f"{place.doc}.html").read_text(encoding="utf8")
            number = int(named[1])
            assert f'data-name="Chapter {number}: {place.title}"' in page
            assert f'<a class="current reference internal" href="#">{number}. {place.title}</a>' in page


UNFOLD = """
    for (const choice of document.querySelectorAll('.quiz-choice, .predict')) choice.classList.add('shown');
    for (const part of document.querySelectorAll('.predict-after, .predict-rest')) part.hidden = false;
    for (const details of document.querySelectorAll('.bd-article details')) details.open = true;
    for (const cell of document.querySelectorAll('.toggle-hidden')) cell.classList.remove('toggle-hidden');
"""
# Sizes are observed between layout and paint.
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# What slides or fades is at its end at once.
MOVED = "for (const change of document.getAnimations()) if (change instanceof CSSTransition) change.finish()"
# The same until nothing moves, with what fades in as it is unfolded.
STILL = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const ends = (change) => change.effect.getComputedTiming().endTime < Infinity;
    const moving = () => document.getAnimations().filter(ends);
    await frame();
    for (await frame(); moving().length; await frame()) moving().forEach((change) => change.finish());
}"""
# What is wrong with each number of a page, asked in one go: a lab has a hundred of them.
BADGES = """async () => {
    const frame = () => new Promise(requestAnimationFrame), wrong = [];
    const visible = (e) => e.checkVisibility({visibilityProperty: true}) && e.getBoundingClientRect().width > 0;
    for (const number of document.querySelectorAll('.number')) {
        const tip = number.querySelector('[role=tooltip]');
        const must = (holds, what) => holds || wrong.push(`${number.textContent.slice(0, 80)}: ${what}`);
        must(!visible(tip), 'open too early');
        number.querySelector('.number-value').focus();
        await frame();  // the scroll that this caused is heard before it
        const box = tip.getBoundingClientRect();
        must(visible(tip) && tip.innerText.includes('Run'), 'closed');
        must(box.left >= 0 && box.right <= innerWidth, 'over the edge');
        const at = [[box.right - 8, box.top + 8]];
        must(at.every(([x, y]) => document.elementFromPoint(x, y)?.closest('.number-tip')), 'cut off');
        document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}));
        must(!visible(tip), 'Escape leaves it open');
    }
    return wrong;
}"""


def test_a_cited_number_tells_how_it_was_measured(loaded):
    loaded.evaluate(UNFOLD)
    loaded.set_viewport_size({"width": 820, "height": 844})
    loaded.evaluate(MOVED)  # the contents slide out of the window, over what stands there
    assert loaded.evaluate(BADGES) == []


def test_how_a_number_was_measured_stays_beside_it_when_something_above_grows(page, site):
    page.set_viewport_size({"width": 820, "height": 844})
    settle(page, (site / "book/ch01_positions.html").as_uri())
    page.evaluate(UNFOLD)
    page.evaluate("document.querySelector('.number-value').focus()")
    gap = """() => {
        const number = document.querySelector('.number').getBoundingClientRect();
        const tip = document.querySelector('.number-tip').getBoundingClientRect();
        return Math.max(tip.top - number.bottom, number.top - tip.bottom);
    }"""
    page.evaluate(TWO_FRAMES)
    assert abs(page.evaluate(gap)) < 1
    page.add_style_tag(content=".bd-article > section { padding-top: 90px; overflow-anchor: none; }")
    page.evaluate(TWO_FRAMES)
    assert abs(page.evaluate(gap)) < 1


def test_what_unfolds_and_scrolls_is_reached_by_the_keyboard_at_once(page, site):
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page, (site / "labs/ch03_emergence.html").as_uri())
    page.evaluate(UNFOLD)
    show = "shown => document.querySelectorAll('.bd-article .highlight').forEach(e => { e.hidden = !shown; })"
    page.evaluate(show, False)
    page.evaluate("dispatchEvent(new Event('resize'))")  # the theme looks, and there is nothing to scroll
    page.wait_for_timeout(500)
    page.evaluate(show, True)
    page.evaluate(TWO_FRAMES)
    wide = "[...document.querySelectorAll('.bd-article pre')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{wide}.length") > 0
    assert page.evaluate(f"{wide}.filter(e => e.tabIndex !== 0).map(e => e.innerText.slice(0, 80))") == []


# Axe looks at each word of a listing by itself, for half of its time: one of each colour and place stands for all.
ONE_WORD_OF_EACH_COLOUR = """() => {
    const seen = new Set();
    for (const word of document.querySelectorAll('.highlight span')) {
        const place = word.closest('.cell_input, .cell_output, dt, details') ?? document.body;
        const kind = `${word.className} in ${place.className}`;
        if (seen.has(kind)) word.replaceWith(...word.childNodes);
        seen.add(kind);
    }
    document.body.normalize();
}"""
# Nor does it look at what is hidden, but it walks through it: a lab has a hundred of these, a third of its elements.
HIDDEN_TIPS_ARE_TEXT = """() => {
    const visible = (e) => e.checkVisibility({visibilityProperty: true});
    for (const tip of document.querySelectorAll('.number-tip')) if (!visible(tip)) tip.textContent = tip.textContent;
}"""
# What is wrong, and which rule failed to look. Without the rules whose findings are minor or moderate at most.
RUN_AXE = """async (options) => {
    const lesser = axe._audit.rules.filter((rule) => ['minor', 'moderate'].includes(rule.impact));
    const rules = Object.fromEntries(lesser.map((rule) => [rule.id, {enabled: false}]));
    const {violations, incomplete} = await axe.run({...options, rules});
    return [...violations, ...incomplete.filter((rule) => rule.error)];
}"""
# Nothing else changes with the theme.
COLOURS_AND_PICTURES = ["color-contrast", "link-in-text-block", "image-alt", "svg-img-alt", "role-img-alt"]
AXE = {
    "light": {"selectors": False, "resultTypes": ["violations"]},
    "dark": {"selectors": False, "resultTypes": ["violations"], "runOnly": COLOURS_AND_PICTURES},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme, loaded):
    loaded.set_viewport_size({"width": 1280, "height": 900})
    loaded.emulate_media(color_scheme=scheme)
    loaded.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
    loaded.evaluate(UNFOLD)  # all that folds out is part of the page too
    loaded.evaluate(STILL)
    loaded.evaluate(ONE_WORD_OF_EACH_COLOUR)
    loaded.evaluate(HIDDEN_TIPS_ARE_TEXT)
    if not loaded.evaluate("'axe' in window"):
        loaded.evaluate((fetch("axe-core") / "axe.min.js").read_text(encoding="utf8"))
    found = loaded.evaluate(RUN_AXE, AXE[scheme])
    assert [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ] == []


def test_a_page_opened_as_a_file_asked_no_other_host_and_reported_no_error_in_all_this(loaded):
    assert loaded.elsewhere == []
    assert loaded.errors == []


CARD = """
::::{grid} 1 1 3 3
:::{grid-item-card} Read
:link: chapter
:link-type: doc
The chapter.
:::
::::
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The book of three pages, with a card that leads to the chapter."""
    project = Project(make_project(tmp_path_factory.mktemp("tiny") / "book"))
    (project.root / "book" / "index.md").write_text(INDEX.replace("{launch}", CARD))
    build_in_a_thread(project.root)
    return project.html / "book"


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_a_table_cuts_no_badge_off(width, page, tiny):
    page.set_viewport_size({"width": width, "height": 700})
    settle(page, (tiny / "chapter.html").as_uri())
    numbers = page.locator("td .number")
    assert numbers.count() == 2
    for number in numbers.all():
        number.locator(".number-value").hover()
        box = number.get_by_role("tooltip").bounding_box()
        left, top = box["x"] + 8, box["y"] + 8
        right, bottom = box["x"] + box["width"] - 8, box["y"] + box["height"] - 8
        assert min(box["x"], box["y"]) >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 700
        seen = "([x, y]) => Boolean(document.elementFromPoint(x, y)?.closest('.number-tip'))"
        assert all(page.evaluate(seen, [x, y]) for x in (left, right) for y in (top, bottom))
        page.mouse.move(0, 0)


def test_a_card_looks_like_the_link_it_is(page, tiny):
    settle(page, (tiny / "index.html").as_uri())
    card, style = page.locator(".sd-card"), "(e, name) => getComputedStyle(e).getPropertyValue(name)"
    title, link = card.locator(".sd-card-title"), card.locator("a")
    assert title.evaluate(style, "color") == link.evaluate(style, "color") != card.evaluate(style, "color")
    assert title.evaluate(style, "text-decoration-line") == "none"
    link.focus()
    assert title.evaluate(style, "text-decoration-line") == "underline"
    card.click()
    page.wait_for_url("**/chapter.html")


def test_every_page_is_complete_without_scripts(browser, http):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for name in PROJECT.documents():
        page.goto(f"{http}/{name}.html")
        assert page.locator(".bd-article h1").is_visible()
        for folded in (".quiz-why", ".predict-after"):
            assert page.locator(f"{folded}:visible").count() == page.locator(folded).count()
    context.close()


def test_search_finds_a_word_of_the_book(page, http):
    page.goto(f"{http}/search.html?q=attention")
    page.wait_for_selector("ul.search li a")
    assert page.locator("ul.search li a").count() > 0
    assert page.elsewhere == []
