"""The slider over precomputed states: what it holds, what it refuses, and how it works in a real browser."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from show_pages import PAPER, opened, write_pages

from course_lib import show
from course_lib.show import states
from course_lib.show.explorers import LIMIT
from course_lib.show.theme import DIVERGING, RAMP

RANKS = [1, 2, 8]
FULL = np.array([[2.0, -1.0, 0.0], [1.0, 0.5, -0.25]])


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(states, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle))
    return outputs


def ranks(**changes):
    show.slider(
        **{
            "label": "Rank",
            "values": RANKS,
            "title": "LoRA <over> ranks",
            "maps": {"full": [FULL] * 3, "LoRA": [FULL * 0, None, FULL]},
            "numbers": {"loss": [1.5, 1.25, 1.0], "share": [0.25, 0.5, 1.0], "parameters": [5, 10, 4000]},
            "fmt": {"share": ".0%"},
            "text": ["Nothing yet.", "Half of it.", "All & everything."],
            "start": 1,
        }
        | changes
    )


def pictures(html):
    return [
        np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGBA"))[..., :3] / 255
        for data in re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    ]


def test_one_output_for_notebooks_and_pages(shown):
    ranks()
    (bundle,) = shown
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == "[LoRA <over> ranks: Rank 1, 2, 8]"
    assert "<over>" not in bundle["text/html"]
    assert " id=" not in bundle["text/html"]
    assert bundle["text/html"].count("<dt>loss</dt>") == 3
    ranks()
    assert shown[1]["text/html"] == bundle["text/html"]


def test_a_map_has_a_dot_for_each_number_on_one_scale(shown):
    ranks()
    full, zero, *_, last = pictures(shown[0]["text/html"])
    assert full.shape == (2, 3, 3)
    assert re.findall(r"<span>([−0-9.]+)</span>", shown[0]["text/html"]) == ["−2.00", "2.00"]
    assert full == pytest.approx(DIVERGING((FULL + 2) / 4)[..., :3], abs=0.02)
    assert zero == pytest.approx(np.broadcast_to(DIVERGING(0.5)[:3], (2, 3, 3)), abs=0.01)
    assert (last == full).all()
    assert len(pictures(shown[0]["text/html"])) == 5  # one was None


def test_numbers_without_a_sign_go_from_zero_and_a_limit_cuts_off(shown):
    ranks(maps={"size": [[[0.0, 1.0, 4.0]]] * 3}, limit=2)
    assert pictures(shown[0]["text/html"])[0] == pytest.approx(RAMP([[0, 0.5, 1]])[..., :3], abs=0.02)
    legend = shown[0]["text/html"].split('class="scale"')[1]
    assert re.findall(r"<span>([^<]*)</span>", legend) == ["0", "2"]


def test_maps_may_be_tensors_and_all_zero(shown):
    ranks(maps={"zero": [torch.zeros(2, 2, requires_grad=True)] * 3})
    assert pictures(shown[0]["text/html"])[0] == pytest.approx(np.broadcast_to(RAMP(0.0)[:3], (2, 2, 3)), abs=0.01)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text": None}, "a sentence for each value"),
        ({"text": ["one"]}, "'text' has 1 entries for 3 values"),
        ({"maps": {"full": [FULL]}}, "'full' has 1 entries"),
        ({"numbers": {"loss": [1, 2]}}, "'loss' has 2 entries"),
        ({"maps": {"loss": [FULL]}}, "'loss' has 1 entries"),  # also where a number has the same name
        ({"maps": {"full": [FULL, FULL[0], FULL]}}, r"shape \(3,\)"),
        ({"maps": {"full": [FULL, FULL * np.nan, FULL]}}, "finite"),
        ({"maps": {}, "numbers": {}, "text": None}, "something|needs maps"),
        ({"start": 3}, "start=3"),
        ({"title": " "}, "description"),
        ({"maps": {"large": [np.random.default_rng(0).normal(size=(400, 400))] * 3}}, "exceed the 300 KB"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        ranks(**changes)


def test_eight_ranks_of_a_real_layer_fit(shown):
    rng = np.random.default_rng(0)
    values = [1, 2, 4, 8, 16, 32, 64, 128]
    show.slider(
        "Rank",
        values,
        title="t",
        maps={name: [rng.normal(size=(64, 64)) for _ in values] for name in ("one", "two")},
        text=["A sentence."] * 8,
    )
    assert len(shown[0]["text/html"].encode()) < LIMIT / 2


# In the browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    outputs = []
    patch = pytest.MonkeyPatch()
    patch.setattr(states, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle["text/html"]))
    ranks()
    ranks(title="Second")
    patch.undo()
    return write_pages(tmp_path_factory.mktemp("slider"), outputs)


def seen(group):
    return group.locator("[data-role=states] > div:visible").inner_text()


def test_the_keyboard_moves_it_and_only_it(browser, folder):
    with opened(browser, folder / "light.html") as page:
        first, second = page.get_by_role("group", name="LoRA <over> ranks"), page.get_by_role("group", name="Second")
        slide = first.get_by_role("slider", name="Rank")
        assert "Half of it." in seen(first)
        assert slide.get_attribute("aria-valuetext") == "2"
        slide.focus()
        page.keyboard.press("ArrowRight")
        assert slide.get_attribute("aria-valuetext") == "8"
        assert first.locator("label b").inner_text() == "8"
        assert "All & everything." in seen(first)
        assert "Half" not in seen(first)
        assert first.locator("dd:visible").all_inner_texts()[1:] == ["100%", "4,000"]
        page.keyboard.press("Home")
        assert "Nothing yet." in seen(first)
        assert "Half of it." in seen(second)
        assert page.get_by_role("img", name="LoRA, Rank 1").count() == 1
        assert page.get_by_role("img", name="LoRA, Rank 8").count() == 0


def test_the_first_state_is_there_without_javascript(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "light.html").as_uri())
    assert "Half of it." in page.locator("[data-role=states] > div").nth(1).inner_text()
    assert page.locator("[data-role=states] > div:visible").count() == 2
    context.close()


@pytest.mark.parametrize("theme", PAPER)
def test_it_fits_a_phone_and_takes_the_colours_of_the_page(browser, folder, theme):
    with opened(browser, folder / f"{theme}.html", viewport={"width": 360, "height": 740}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        body = page.evaluate("getComputedStyle(document.body).color")
        for selector in (".said", "dt", "dd", "figcaption", "label"):
            one = page.locator(f".course-explorer {selector}:visible").first
            assert one.evaluate("e => getComputedStyle(e).color") == body
        image = page.locator(".course-explorer img:visible").first
        assert image.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
        assert image.bounding_box()["width"] >= 200
        assert ("invert(1)" in image.evaluate("e => getComputedStyle(e).filter")) == (theme == "dark")
