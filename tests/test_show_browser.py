"""The attention explorer and the figures, in a real browser, from a file, with the network watched."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image
from show_pages import PAPER, colours, contrast, opened, write_pages

from course_lib import show
from course_lib.show import attention, picture, tables
from course_lib.show.theme import INK

WORDS = ["The", " cat", " sat", " on", " the", " mat"]


VERMILION = "#f03c14"  # the colour of a picture, which no theme may change


def a_picture():
    """A figure that shows a picture of one colour."""
    fig, ax = show.axes()
    ax.imshow(np.full((2, 3, 3), to_rgb(VERMILION)))
    return fig


def weights():
    scores = np.random.default_rng(1).normal(size=(4, 3, 6, 6)) * 2
    e = np.exp(np.where(np.tri(6, dtype=bool), scores, -np.inf))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page like the book's in each theme: two explorers, two figures, a table."""
    outputs = []
    patch = pytest.MonkeyPatch()
    for module in (attention, picture, tables):
        patch.setattr(module, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle["text/html"]))
    w = weights()
    show.explorer(["".join(WORDS), "The cat"], [WORDS, WORDS[:2]], [w, w[:, :, :2, :2]], title="First", layer=1, head=2)
    show.explorer(["".join(WORDS)], [WORDS], [w], title="Second")
    show.figure(show.curves({"a": [1, 2]}, xlabel="x", ylabel="y"), alt="A line rises from 1 to 2.", caption="Below")
    show.figure(a_picture(), alt="A picture.", true_colours=True)
    show.table([["a", 1], ["b", 2]], ["name", "value"], caption="A table")
    patch.undo()
    return write_pages(tmp_path_factory.mktemp("show"), outputs)


@pytest.fixture
def page(browser, page_file: Path):
    with opened(browser, page_file / "light.html") as page:
        yield page


def pixels(browser, file, image):
    """How often each colour is seen in an image of a page."""
    page = browser.new_page(viewport={"width": 800, "height": 900}, device_scale_factor=2)
    page.goto(file.as_uri())
    shot = page.locator(image).screenshot()
    page.close()
    return {colour: n for n, colour in Image.open(BytesIO(shot)).convert("RGB").getcolors(100_000)}


def first(page):
    return page.get_by_role("group", name="First")


def row(layer, head, query):
    return [f"{w:.2f}" for w in weights()[layer, head, query, : query + 1]]


def shown_row(page):
    return [text for text in first(page).locator(".tokens small").all_inner_texts() if text != "–"]


def close(one, other):
    assert np.array(one, float) == pytest.approx(np.array(other, float), abs=0.011)


def test_it_starts_where_asked_and_every_control_changes_the_map(page):
    close(shown_row(page), row(1, 2, 5))
    first(page).get_by_label("Layer").select_option("3")
    close(shown_row(page), row(3, 2, 5))
    first(page).get_by_label("Head").select_option("0")
    close(shown_row(page), row(3, 0, 5))
    first(page).get_by_label("Leave out the first token").check()
    expected = weights()[3, 0, 5].copy()
    expected[0] = 0
    close(shown_row(page), expected / expected.sum())
    first(page).get_by_label("Sentence").select_option("1")
    assert first(page).locator(".tokens button").count() == 2


def test_it_works_as_an_output_of_a_notebook(page):
    """JupyterLab writes an output with innerHTML, which runs no script, and puts new scripts in place of these."""
    page.evaluate(
        """() => {
            const host = document.createElement('div');
            host.id = 'notebook';
            const old = document.querySelector('.course-explorer');
            host.innerHTML = old.outerHTML;
            host.firstChild.removeAttribute('data-ready');
            for (const script of host.querySelectorAll('script')) {
                const fresh = document.createElement('script');
                if (script.type) fresh.type = script.type;
                fresh.textContent = script.textContent;
                script.replaceWith(fresh);
            }
            old.replaceWith(host);
        }"""
    )
    explorer = page.locator("#notebook .course-explorer")
    explorer.get_by_label("Layer").select_option("3")
    close(shown_row(page), row(3, 2, 5))
    control = explorer.get_by_label("Head")
    control.focus()
    assert control.get_attribute("data-lm-suppress-shortcuts") == "true"  # or "b" would make a new cell


def test_two_explorers_do_not_disturb_each_other(page):
    second = page.get_by_role("group", name="Second")
    before = second.locator(".said").inner_text()
    first(page).get_by_label("Layer").select_option("0")
    assert second.locator(".said").inner_text() == before
    assert page.locator("[id]").count() == 0


def test_it_works_from_the_keyboard_alone(page):
    first(page).get_by_label("Leave out the first token").focus()
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.firstChild.textContent")
    assert focused == "mat"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    close(shown_row(page), row(1, 2, 3))
    page.keyboard.press("Home")
    assert shown_row(page) == ["1.00"]
    page.keyboard.press("End")
    close(shown_row(page), row(1, 2, 5))
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    first(page).get_by_label("Layer").focus()
    page.keyboard.press("ArrowDown")
    close(shown_row(page), row(2, 2, 5))


def test_hovering_a_token_or_touching_a_cell_chooses_its_row(page):
    first(page).locator(".tokens button").nth(2).hover()
    close(shown_row(page), row(1, 2, 2))
    first(page).locator("svg rect.cell").nth(10).click()  # fourth row: after 1 + 2 + 3 + 4 cells comes the fifth
    close(shown_row(page), row(1, 2, 4))
    assert "token 5" in first(page).locator(".said").inner_text()


def test_a_tap_works_on_a_phone_and_nothing_is_wider_than_the_screen(browser, page_file):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto((page_file / "light.html").as_uri())
    button = first(page).locator(".tokens button").nth(1)
    button.tap()
    assert button.get_attribute("aria-pressed") == "true"
    assert button.bounding_box()["height"] >= 36
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_every_control_and_picture_has_a_name(page):
    for control in page.locator("select, input").all():
        assert control.evaluate("e => e.labels[0].textContent.trim()")
    assert page.get_by_role("img", name="A line rises from 1 to 2.").count() == 1
    assert page.get_by_role("table", name="A table").count() == 1
    assert page.get_by_role("columnheader").count() == 2
    assert page.get_by_role("rowheader").count() == 2


@pytest.mark.parametrize("theme", PAPER)
def test_text_of_the_explorer_is_legible_on_its_shading(browser, page_file, theme):
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.goto((page_file / f"{theme}.html").as_uri())
    page.mouse.move(0, 0)
    button = first(page).locator(".tokens button").first
    button.focus()  # looks at itself with weight 1: the deepest shade there is
    shade, ink = colours(button)
    assert contrast(shade, ink) >= 4.5
    assert to_hex(shade) != PAPER[theme]
    page.close()


@pytest.mark.parametrize("theme", PAPER)
def test_the_figure_that_a_reader_sees_has_the_computed_contrast(browser, page_file, theme):
    """The browser's own filter must give what `mirrored` computes: look at the pixels."""
    seen = set(pixels(browser, page_file / f"{theme}.html", ".course-figure:not(.true-colours) img"))
    best = max(contrast(tuple(v / 255 for v in p), PAPER[theme]) for p in seen)
    ink = (0x73,) * 3 if theme == "light" else (0xA8,) * 3
    assert min(max(abs(a - b) for a, b in zip(p, ink, strict=True)) for p in seen) <= 3
    assert best >= 4.5


@pytest.mark.parametrize("theme", PAPER)
def test_a_picture_keeps_its_colours_on_a_light_ground(browser, page_file, theme):
    seen = pixels(browser, page_file / f"{theme}.html", ".course-figure.true-colours img")
    assert [to_hex(np.array(colour) / 255) for colour in sorted(seen, key=seen.get)[-2:]] == ["#ffffff", VERMILION]
    assert tuple(int(INK[i : i + 2], 16) for i in (1, 3, 5)) in seen  # legible on white: test_show.py


@pytest.mark.parametrize("theme", PAPER)
def test_captions_and_tables_take_the_colours_of_the_page(browser, page_file, theme):
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.goto((page_file / f"{theme}.html").as_uri())
    body = page.evaluate("getComputedStyle(document.body).color")
    for selector in (".course-figure figcaption", ".course-table td", ".course-table caption", ".course-explorer p"):
        assert page.locator(selector).first.evaluate("e => getComputedStyle(e).color") == body
    for box in page.locator(".text_html").all():
        assert box.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
    page.close()
