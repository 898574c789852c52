"""Predictions, and what pages show of labs: figures, tables, code, the cards of numbers; built, and in a browser."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html import escape
from io import BytesIO

import nbformat
import pytest
from PIL import Image
from site_project import ROOT, TOC, lab_cells, make_project, write_lab

from course_lib.site import shown
from course_lib.site.build import build
from course_lib.site.page import page as page_of
from course_lib.site.paths import Project, SiteError

DRAWN = """\
from course_lib import show

show.figure(
    show.curves({"fell": ([1, 2, 4], [3.0, 2.0, 1.0]), "flat": ([1, 2, 4], [3.0, 3.0, 2.9])},
                xlabel="width", ylabel="loss", chance=2.5, ylim=(0, 4)),
    key="tiny.curves",
)
show.figure(show.bars({"a": 0.9, "b": 0.2}, xlabel="share", controls=["b"], fmt=".0%", chance=0.1), key="tiny.bars")
show.figure(show.axes()[0], alt="Nothing.", key="tiny.picture")
field, axes = show.axes()
axes.imshow([[(1.0, 0.0, 0.0)]])
show.figure(field, alt="A red field.", key="tiny.colours", true_colours=True)
show.table([["one", 1.0, 2.0]], ["name", "value", "other"], key="tiny.table")"""

CHAPTER = """\
# One chapter

:::{predict} Which of them do softmax weights sum to?
:id: sum
( ) $n$
(x) One
( ) Zero

What is shown after the choice.
:::

## A share

:::{predict} How large is the share?
:id: share
:bar: tiny.share .1% = the share
:control: tiny.even .0% = even weights
:chance: 10%

After the bar: {number}`tiny.share .1%`.
:::

## A curve

:::{predict} Draw the loss that fell.
:id: curve
:curve: tiny.curves = fell
:given: flat

After the curve.
:::

## An order

:::{predict} Order them.
:id: order
:order: largest first
* even | tiny.even .1%
* total | tiny.total .1f
* share | tiny.share .1%

After the order.
:::

## What a lab shows

:::{labfigure} tiny.curves
A caption with {number}`tiny.even`.
:::

:::{labfigure} tiny.bars
:::

:::{labfigure} tiny.picture
:::

:::{labfigure} tiny.colours
:::

:::{labtable} tiny.table
:columns: 1 3
:::

:::{source} nn.norms.RMSNorm.forward
:::
"""

FOLDED = """\
# Folds

The page asks.

:::{predict} Of the title?
:id: of-title
( ) No
(x) Yes

Shown with the answer.
:::

Below the title.

## One section

Before.

:::{predict} First?
:id: first
( ) No
(x) Yes

The first answer.
:::

After the first: {number}`tiny.share .1%`, and a walrus.

:::{predict} Second?
:id: second
( ) No
(x) Yes

The second answer.
:::

After the second.

### Below

:::{quiz} Which?
:id: which
(x) This
    Because.
( ) That
    It is not.
:::

## Another section

Always here.
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(make_project(tmp_path_factory.mktemp("predict") / "book"))
    write_lab(made.root, [*lab_cells(), nbformat.v4.new_code_cell(DRAWN, id="drawn")])
    (made.root / "book" / "chapter.md").write_text(CHAPTER)
    (made.root / "book" / "predictions.md").write_text("# Your predictions\n\n```{predictions}\n```\n")
    (made.root / "book" / "folded.md").write_text(FOLDED)
    (made.root / "_toc.yml").write_text(TOC + "      - file: book/predictions\n      - file: book/folded\n")
    with ThreadPoolExecutor(1) as pool:  # since this thread may have Playwright's event loop
        pool.submit(build, root=made.root).result()
    return made


@pytest.fixture(scope="module")
def chapter(project):
    return (project.html / "book" / "chapter.html").read_text(encoding="utf8")


@pytest.fixture
def tab(browser):
    """A new tab of a reader who has done nothing yet."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    assert page.errors == []
    context.close()


@pytest.fixture
def page(tab, project):
    tab.goto((project.html / "book" / "chapter.html").as_uri())
    return tab


def reload(page):
    """Load the page again. A second tab is open meanwhile: without one a busy browser loses what was stored."""
    before = guesses(page)
    other = page.context.new_page()
    other.goto(page.url)
    assert guesses(other) == before
    page.reload()
    assert guesses(page) == before
    other.close()
    page.bring_to_front()


def guesses(page):
    return page.evaluate(
        "Object.fromEntries(Object.entries(localStorage).filter(([k]) => k.startsWith('course:predict:')))"
    )


# What pages show of labs


def test_a_figure_is_drawn_in_the_page_s_colours_with_its_description_and_a_link_to_its_step(chapter, project):
    figures = chapter.split('<figure class="labfigure"')[1:]
    assert len(figures) == 5
    curves, bars, picture, _, table = figures
    assert (
        'aria-label="Curves of loss over width. fell: from 3 at 1 to 1 at 4; flat: from 3 at 1 to 2.9 at 4;' in curves
    )
    assert '<path class="line line-0" d="M0.0 250.0L333.3 500.0L1000.0 750.0"/>' in curves
    assert '<path class="chance" d="M0 375.0H1000"/>' in curves
    assert "A caption with" in curves
    assert "tiny.even" in curves
    assert re.search(r'data-kind="control"><span class="bars-name">b <span class="bars-role">control</span>', bars)
    assert re.search(r'data-kind="chance">.*?left:9\.\d+%', bars)
    assert 'alt="Nothing."' in picture
    assert "<style>" not in picture
    lab = (project.html / "labs" / "tiny.html").read_text(encoding="utf8")
    for figure in figures:
        (anchor,) = re.findall(r'href="../labs/tiny\.html#(step-drawn)"', figure)
        assert lab.count(f'id="{anchor}"') == 1
    assert re.findall(r"<th[^>]*>(.*?)</th>|<td[^>]*>(.*?)</td>", table) == [
        ("name", ""),
        ("other", ""),
        ("one", ""),
        ("", "2.00"),
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", ["book/chapter.html", "labs/tiny.html"])
def test_a_picture_keeps_its_colours_on_pages_and_in_labs(browser, project, theme, place):
    page = browser.new_page(color_scheme=theme)
    page.goto((project.html / place).as_uri())
    assert page.locator("html").get_attribute("data-theme") == theme
    shot = page.get_by_role("img", name="A red field.").screenshot()
    page.close()
    seen = {colour: n for n, colour in Image.open(BytesIO(shot)).convert("RGB").getcolors(100_000)}
    assert sorted(seen, key=seen.get)[-2:] == [(255, 255, 255), (255, 0, 0)]


def test_code_is_the_library_s_own_without_its_docstring(chapter, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course.source import find, text_of

    own = (ROOT / "course_lib" / "nn" / "norms.py").read_text(encoding="utf8")
    module, node = find("nn.norms.RMSNorm.forward")
    text = text_of(module, node)
    assert text.startswith("def forward(")
    assert all(line.strip() in own for line in text.splitlines())
    shown_here = re.sub(r"<[^>]+>", "", chapter.split("course-source")[1].split("</pre>")[0])
    assert "def forward(" in shown_here
    assert f"course_lib/nn/norms.py, line {node.lineno}" in chapter
    assert '"""' not in text_of(*find("nn.attention.causal_mask")).split("\n", 1)[1]
    assert '"""' in text_of(*find("nn.attention.causal_mask"), docstring=True)
    for wrong in ("nn.norms.Nosuch", "nosuch.norms", "nn.norms"):
        with pytest.raises(LookupError):
            print(find(wrong)[1].lineno)


def test_the_card_of_a_number_speaks_in_the_page_s_units(chapter):
    card = chapter.split('role="tooltip"')[1].split("The lab’s step")[0]
    assert '<span class="number-name">Measured</span> 73.1%, expected 70% to 80%' in card
    assert '<span class="number-name">Control</span> 50%, expected 40% to 60%' in card
    assert '<span class="number-name">Key</span> tiny.share, control tiny.even' in card
    assert re.search(r'<rect class="band" x="220\.8" y="1" width="30\.4"', card)  # on the scale from 0 to 100%
    assert re.search(r'<rect class="bar" x="8\.0" y="7" width="222\.2"', card)
    assert re.search(r'<rect class="bar of-control" x="8\.0" y="18" width="152\.0"', card)
    assert 'class="number-step" href="../labs/tiny.html#step-share"' in card


def test_a_figure_s_key_stands_for_one_figure():
    out = nbformat.v4.new_output(
        "display_data", {"text/html": ""}, metadata={"course_shown": {"key": "a.b", "kind": "bars"}}
    )
    cell = nbformat.v4.new_code_cell("", id="one", outputs=[out])
    lab = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])
    found = shown.collect("tiny", lab)
    assert found == {"a.b": {"key": "a.b", "kind": "bars", "lab": "tiny", "cell": "one"}}
    assert [made.id for made in page_of("tiny", lab, lab).cells][1:] == ["step-one", "one"]
    with pytest.raises(SiteError, match=r"a\.b is shown by both labs/x\.ipynb and labs/y\.ipynb"):
        shown.merge({"x": found | {"a.b": {**found["a.b"], "lab": "x"}}, "y": found})
    lab.cells.append(cell)
    with pytest.raises(SiteError, match=r"shows a\.b twice"):
        shown.collect("tiny", lab)


# Predictions

SKIP = "Show what follows without a guess"


def test_the_right_answer_is_what_was_measured(chapter):
    truths = {
        name: json.loads(text.replace("&quot;", '"'))
        for name, text in re.findall(r'data-predict="(\w+)" data-truth="([^"]*)"', chapter)
    }
    assert truths["sum"]["right"] == 1
    assert truths["share"]["value"] == pytest.approx(0.731, abs=1e-3)
    assert truths["share"]["text"] == "73.1%"
    assert truths["share"]["ends"] == ["0%", "100%"]
    assert truths["curve"]["y"] == [3, 2, 1]
    assert truths["order"]["items"] == ["total", "share", "even"]


def test_a_choice_by_keyboard(page):
    box = page.locator("#predict-sum")
    assert not box.locator(".predict-after").is_visible()
    button = box.get_by_role("button", name="See what came out")
    button.focus()
    page.keyboard.press("Enter")
    assert box.locator(".predict-said").inner_text() == "Choose an answer first."
    box.locator("input").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    assert box.locator(".predict-after").is_visible()
    assert box.locator(".predict-said").inner_text() == "It came out otherwise."
    assert page.evaluate("document.activeElement.className") == "predict-said"
    assert guesses(page) == {"course:predict:sum": "0"}
    reload(page)
    assert box.locator(".predict-after").is_visible()
    box.get_by_role("button", name="Guess again").click()
    assert not box.locator(".predict-after").is_visible()
    assert guesses(page) == {}


def test_a_bar_by_keyboard_and_by_pointer(page):
    box = page.locator("#predict-share")
    slider = box.get_by_role("slider")
    assert not box.get_by_text("even weights").is_visible()
    assert box.get_by_text("10%", exact=True).is_visible()  # chance is no secret
    ends = box.locator(".bars-ends")
    assert ends.inner_text().split() == ["0%", "100%"]
    track, below = box.locator("[data-kind=guess] .bars-track").bounding_box(), ends.bounding_box()
    assert (below["x"], below["width"]) == (pytest.approx(track["x"], abs=2), pytest.approx(track["width"], abs=2))
    assert below["y"] >= track["y"] + track["height"]
    assert slider.get_attribute("aria-label") == "Your guess, from 0% to 100%"
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("0", "1")
    slider.focus()
    page.keyboard.press("End")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "97%"
    page.keyboard.press("Enter")
    assert box.locator(".predict-said").inner_text() == "You guessed 97%. It came out as 73.1%: 23.9 points less."
    assert box.get_by_text("even weights").is_visible()
    assert not ends.is_visible()
    assert box.locator(".predict-after").is_visible()
    box.get_by_role("button", name="Guess again").click()
    assert ends.is_visible()
    frame = slider.bounding_box()
    page.mouse.click(frame["x"] + 0.25 * frame["width"], frame["y"] + frame["height"] / 2)
    box.get_by_role("button", name="See what came out").click()
    assert json.loads(guesses(page)["course:predict:share"]) == pytest.approx(0.25, abs=0.011)


def test_the_difference_is_that_of_the_numbers_as_they_are_written(tab, project):
    """A guess of 573 is written as 570, and from there to 186 it is 384."""
    truth = {"kind": "bar", "value": 186.0, "text": "186", "low": 125.0, "high": 1000.0}
    truth |= {"share": False, "unit": "tokens", "ends": ["125", "1,000"]}
    html = (project.html / "book" / "chapter.html").read_text(encoding="utf8")
    data = f'data-predict="share" data-truth="{escape(json.dumps(truth))}"'
    html, found = re.subn(r'data-predict="share" data-truth="[^"]*"', lambda _: data, html)
    assert found == 1
    (counted := project.html / "book" / "counted.html").write_text(html, encoding="utf8")
    tab.add_init_script("localStorage.setItem('course:predict:share', '573')")
    tab.goto(counted.as_uri())
    said = tab.locator("#predict-share .predict-said").inner_text()
    assert said == "You guessed 570 tokens. It came out as 186 tokens: 384 tokens less."


def test_a_curve_by_keyboard_and_by_pointer(page):
    box = page.locator("#predict-curve")
    assert box.locator("path.line-1.line").is_visible()
    assert not box.locator("path.line-0.line").is_visible()
    sliders = box.get_by_role("slider")
    assert [slider.get_attribute("aria-label") for slider in sliders.all()] == [
        f"Your curve at width {x}" for x in (1, 2, 4)
    ]
    sliders.first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert "Draw the whole curve first" in box.locator(".predict-said").inner_text()
    for slider in sliders.all():
        slider.focus()
        page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert box.locator(".predict-said").inner_text() == "On average your curve is 2 off, 50% of the height of the plot."
    assert box.locator("path.line-0.line").is_visible()
    box.get_by_role("button", name="Guess again").click()
    frame = box.locator("svg").bounding_box()
    page.mouse.move(frame["x"] + 1, frame["y"] + 1)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] - 1, frame["y"] + frame["height"] - 1)  # one long stroke
    page.mouse.up()
    box.get_by_role("button", name="See what came out").click()
    drawn = json.loads(guesses(page)["course:predict:curve"])
    assert drawn == sorted(drawn, reverse=True)
    assert (drawn[0], drawn[2]) == (pytest.approx(4, abs=0.1), pytest.approx(0, abs=0.1))


def test_an_order_by_keyboard(page):
    box = page.locator("#predict-order")
    items = lambda: [text.strip() for text in box.locator(".predict-item").all_inner_texts()]  # noqa: E731
    assert items() == ["even", "share", "total"]
    assert not box.locator(".predict-number").first.is_visible()
    box.get_by_role("button", name="total: up").focus()
    page.keyboard.press("Enter")
    assert items() == ["even", "total", "share"]
    assert box.get_by_text("total is now number 2.").count() == 1
    box.get_by_role("button", name="See what came out").click()
    assert box.locator(".predict-said").inner_text() == "You have 1 of 3 pairs in the right order."
    assert items() == ["total", "share", "even"]
    assert box.locator("li").first.inner_text().split() == ["total", "your", "number", "2", "2.0"]


def test_your_predictions_add_up_and_can_be_forgotten(page, project):
    store = "entries => Object.entries(entries).forEach(([k, v]) => localStorage.setItem(`course:predict:${k}`, v))"
    made = {"sum": "1", "share": "0.631", "order": '["share","total","even"]', "curve": "[1]", "other": "1"}
    page.evaluate(store, made)
    page.goto((project.html / "book" / "predictions.html").as_uri())
    said = page.locator(".predictions-summary").inner_text()
    assert "You have made 3 of 7 predictions." in said  # a guess of a curve of another length counts no more
    assert "Choices: 1 of 1 right; picking at random would get 0.3 on average." in said
    assert "Bars: 10 points off on average" in said
    assert "Orders: 67% of the pairs right" in said
    rows = page.locator("[data-predicted]")
    assert rows.nth(0).locator("td").all_inner_texts() == ["One", "One", "right"]
    assert rows.nth(2).locator("td").all_inner_texts() == ["not guessed yet"]
    page.get_by_role("button", name="Forget all predictions").click()
    assert page.locator(".predictions-summary").inner_text() == "You have made 0 of 7 predictions."
    assert guesses(page) == {"course:predict:other": "1"}


def test_a_link_into_what_is_folded_opens_it_and_a_guess_is_no_condition(page):
    box = page.locator("#predict-share")
    page.evaluate("document.querySelector('#predict-share .predict-after p').id = 'inside'; location.hash = 'inside'")
    box.locator(".predict-after").wait_for(state="visible")
    order = page.locator("#predict-order")
    order.get_by_role("button", name=SKIP).click()
    assert order.locator(".predict-after").is_visible()
    assert guesses(page) == {"course:predict:order": "null"}  # it is done, and no guess
    reload(page)
    assert order.locator(".predict-after").is_visible()


def test_all_is_in_view_in_print_and_without_scripts(page, browser, project):
    page.emulate_media(media="print")
    for box in page.locator(".predict").all():
        assert box.locator(".predict-after").is_visible()
    assert page.get_by_text("even weights").is_visible()
    assert page.locator("#predict-curve path.line-0.line").is_visible()
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto((project.html / "book" / "chapter.html").as_uri())
    for hidden in (".predict-after", ".predict-mark", ".predict-number", "path.line-0.line", ".bars-row"):
        assert all(found.is_visible() for found in plain.locator(f".predict {hidden}").all()), hidden
    line = plain.locator(".predict path.line-0.line").first
    assert line.evaluate("line => getComputedStyle(line).stroke").startswith("rgb")  # not "none": a theme is chosen
    plain.goto((project.html / "book" / "predictions.html").as_uri())
    assert plain.get_by_role("link", name="How large is the share?").is_visible()
    context.close()


# What follows a prediction


@pytest.fixture
def folded(tab, project):
    tab.goto((project.html / "book" / "folded.html").as_uri())
    return tab


TITLE, FIRST, SECOND = "Below the title.", "and a walrus", "After the second."
ALL = [TITLE, FIRST, SECOND]


def seen(page):
    """Which of the texts that wait for an answer are in view."""
    return [text for text in ALL if page.get_by_text(text).is_visible()]


def answer(page, name, choice="Yes"):
    box = page.locator(f"#predict-{name}")
    box.get_by_label(choice).check()
    box.get_by_role("button", name="See what came out").click()
    return box


def test_what_follows_in_the_section_waits_for_the_answer(folded):
    assert seen(folded) == []
    for text in ("The page asks.", "Before.", "Always here."):
        assert folded.get_by_text(text).is_visible()
    for heading in ("One section", "Another section"):
        assert folded.get_by_role("heading", name=heading).is_visible()
    assert not folded.locator("#predict-second").is_visible()
    assert not folded.get_by_role("heading", name="Below").is_visible()
    first = answer(folded, "first", "No")  # a wrong guess is one too
    assert seen(folded) == [FIRST]
    assert first.get_by_text("The rest of this section is now shown.").get_attribute("role") == "status"
    assert folded.locator("#predict-second").is_visible()
    answer(folded, "second")
    assert seen(folded) == [FIRST, SECOND]
    assert folded.get_by_role("heading", name="Below").is_visible()
    reload(folded)
    assert seen(folded) == [FIRST, SECOND]
    first.get_by_role("button", name="Guess again").click()
    assert seen(folded) == []


def test_what_follows_is_shown_without_a_guess_from_the_keyboard(folded):
    first = folded.locator("#predict-first")
    assert "folded until then" in first.get_by_role("status").last.inner_text()
    first.locator("input").first.focus()
    folded.keyboard.press("Tab")
    folded.keyboard.press("Tab")
    assert folded.evaluate("document.activeElement.textContent") == SKIP
    folded.keyboard.press("Tab")  # what is folded takes no focus
    assert folded.evaluate("!document.activeElement.closest('.predict-rest')")
    first.get_by_role("button", name=SKIP).focus()
    folded.keyboard.press("Enter")
    assert seen(folded) == [FIRST]
    assert folded.evaluate("document.activeElement.textContent") == "Guess again"
    folded.keyboard.press("Tab")
    assert folded.evaluate("document.activeElement.className") == "number-value"  # the first thing that follows
    reload(folded)
    assert seen(folded) == [FIRST]


@pytest.mark.parametrize("loaded", [False, True], ids=["a link on the page", "an address"])
@pytest.mark.parametrize(
    ("target", "shown"), [("below", [FIRST, SECOND]), ("quiz-which", [FIRST, SECOND]), ("predict-second", [FIRST])]
)
def test_a_link_into_what_follows_opens_it_and_leaves_the_question_open(target, shown, loaded, tab, project):
    address, folded = (project.html / "book" / "folded.html").as_uri(), tab
    if loaded:
        folded.goto(f"{address}#{target}")
    else:
        folded.goto(address)
        folded.evaluate("target => { location.hash = target }", target)
    folded.locator(f"#{target}").wait_for(state="visible")
    assert seen(folded) == shown
    assert folded.evaluate("id => document.getElementById(id).getBoundingClientRect().top < innerHeight", target)
    assert not folded.get_by_text("The first answer.").is_visible()
    assert guesses(folded) == {}
    answer(folded, "first")
    assert folded.get_by_text("The first answer.").is_visible()


def test_the_contents_of_the_page_lead_into_what_follows(folded):
    folded.locator(".bd-sidebar-secondary a[href='#below']").first.evaluate("link => link.click()")
    folded.get_by_role("heading", name="Below").wait_for(state="visible")


def test_the_browser_s_search_and_the_book_s_open_what_follows(tab, project):
    address, folded = (project.html / "book" / "folded.html").as_uri(), tab
    folded.goto(f"{address}#:~:text=walrus")  # looks through the page as a reader's Ctrl+F does
    folded.get_by_text(FIRST).wait_for(state="visible")
    assert seen(folded) == [FIRST]
    folded.goto(address)
    assert seen(folded) == []
    folded.add_init_script("localStorage.setItem('sphinx_highlight_terms', 'below')")
    folded.reload()
    folded.get_by_text(TITLE).wait_for(state="visible")
    assert guesses(folded) == {}


def test_a_quiz_that_waited_counts_once_it_is_shown(folded):
    for _ in range(2):
        folded.get_by_role("button", name=SKIP).last.click()
    quiz = folded.locator("#quiz-which")
    quiz.get_by_label("This").check()
    quiz.get_by_role("button", name="Check").click()
    assert quiz.locator(".quiz-why").first.is_visible()
    done = folded.evaluate("localStorage.getItem('course:page:book/folded')")
    assert done == "3/5"  # of three predictions, a quiz and reading to the end


def test_what_follows_is_in_view_in_print_and_without_scripts(folded, browser, project):
    folded.emulate_media(media="print")
    assert seen(folded) == ALL
    assert not folded.get_by_text("folded until then").first.is_visible()
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto((project.html / "book" / "folded.html").as_uri())
    assert seen(plain) == ALL
    context.close()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("( ) One\n( ) Two", "exactly one of them marked"),
        ("(x) One", "at least two lines"),
    ],
)
def test_a_malformed_prediction_is_refused(lines, sentence, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    from course.predict import PredictDirective

    directive = PredictDirective.__new__(PredictDirective)
    with pytest.raises(ValueError, match=sentence):
        directive.choice(lines.splitlines())
