"""The tokenizer explorer: its page cuts texts as `course_lib.data.tokenizers.bpe` does, seen in a real browser."""

import re

import pytest
from show_pages import PAPER, contrast, opened, write_pages

from course_lib import show
from course_lib.data.tokenizers.bpe import BPE, train_bpe
from course_lib.data.tokenizers.pretokenization import PATTERN
from course_lib.show import tokens

CORPUS = [
    "the thin thing that then sank, and the theatre's end. Ève's café, naïve café café",
    "aaa aaaa aaaaa 1234 1234",
]
BPE_OF_ALL = train_bpe(CORPUS, 256 + 60)
MERGES = BPE_OF_ALL.merges
TEXTS = [
    "the thin café",
    "Then, it's <b>1234567</b> & aaaa",
    " two  spaces\n\n\tand a tab ",
    "naïve 東京 🙂🏽 z͑algo Ω it'LL",
    "x" * 300,
    "",
]


def cut(text, n):
    return BPE(MERGES[:n]).encode(text)


def collected(monkeypatch, texts=TEXTS, **more):
    outputs = []
    monkeypatch.setattr(tokens, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle))
    show.tokenizer_explorer(texts, MERGES, cut, **({"pattern": PATTERN, "title": "Tokens", "start": 5} | more))
    return outputs[0]


def test_widget_and_twin_travel_in_one_bundle(monkeypatch):
    bundle = collected(monkeypatch)
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert "<b>1234567" not in bundle["text/html"].split("<script")[0]
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|XMLHttpRequest|import\(| id=", bundle["text/html"])
    assert bundle["text/html"] == collected(monkeypatch)["text/html"]


@pytest.mark.parametrize(
    ("texts", "merges", "more", "sentence"),
    [
        ([], MERGES, {}, "needs a text"),
        (["a"], [[97, 256]], {}, "token 256 would merge"),
        (["a"], [[97, 98], [-1, 98]], {}, "token 257 would merge"),
        (["a"], MERGES, {"start": len(MERGES) + 1}, "start=[1-9]"),
        (["a"], MERGES, {"start": -1}, "start=-1"),
        (["a"], MERGES, {"title": ""}, "description"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(texts, merges, more, sentence):
    with pytest.raises(ValueError, match=sentence):
        show.tokenizer_explorer(texts, merges, cut, pattern=PATTERN, **more)


def test_the_bytes_of_every_token():
    assert tokens.spelled(MERGES) == BPE_OF_ALL.tokens


def test_the_widgets_cut_with_the_function_they_were_given():
    asked = []

    def spy(text, n):
        asked.append((text, n))
        return cut(text, n)

    _, pick, own, number, view = tokens.widgets(TEXTS, MERGES, spy, "Tokens", 5).children
    assert asked == [(TEXTS[0], 5)]
    number.value = 7
    own.value = "mine & yours"
    assert asked[1:] == [(TEXTS[0], 7), ("mine & yours", 7)]
    assert "<b>&amp;</b>" in view.value
    pick.index = 2
    assert asked[-1] == (own.value, 7) == (TEXTS[2], 7)
    own.value = "y" * 1000
    assert len(asked[-1][0]) == tokens.LONGEST
    assert all(control.description for control in (pick, own, number))


# In the browser

READ = """e => [e.querySelector('.said').textContent, [...e.querySelectorAll('li')].map(li => [
    li.querySelector('b').textContent, Number(li.querySelector('span').textContent),
    li.querySelector('small').textContent, li.className])]"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    outputs = [collected(patch)["text/html"], collected(patch, ["Another."], title="Second", start=None)["text/html"]]
    patch.undo()
    return write_pages(tmp_path_factory.mktemp("tokens"), outputs)


@pytest.mark.parametrize("i", range(len(TEXTS)))
def test_the_page_cuts_and_says_what_the_live_view_does(browser, folder, i):
    with opened(browser, folder / "light.html") as page:
        group = page.get_by_role("group", name="Tokens")
        assert group.get_by_role("slider").input_value() == "5"
        group.get_by_label("Text").select_option(str(i))
        assert group.get_by_label("Or your own").input_value() == TEXTS[i]
        counts = range(len(MERGES) + 1)
        lives = [tokens.drawn(TEXTS[i], cut(TEXTS[i], n), BPE_OF_ALL.tokens, MERGES, n) for n in counts]
        seen = group.evaluate(
            f"""(e, lives) => lives.map((live, n) => {{
                const slide = e.querySelector('[type=range]');
                slide.value = n;
                slide.dispatchEvent(new Event('input'));
                const other = document.createElement('div');
                other.innerHTML = live;
                return [({READ})(e), ({READ})(other)]; }})""",
            lives,
        )
        for n, (twin, live) in zip(counts, seen, strict=True):
            assert [chip[1] for chip in twin[1]] == cut(TEXTS[i], n)
            assert twin == live


def test_own_text_and_single_merges_from_the_keyboard(browser, folder):
    with opened(browser, folder / "light.html") as page:
        first, second = page.get_by_role("group", name="Tokens"), page.get_by_role("group", name="Second")
        before = second.evaluate(READ)
        first.get_by_role("combobox", name="Text").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("the theatre")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert [chip[1] for chip in first.evaluate(READ)[1]] == cut("the theatre", 6)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert [chip[1] for chip in first.evaluate(READ)[1]] == cut("the theatre", 5)
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Space")
        said, chips = first.evaluate(READ)
        assert [chip[1] for chip in chips] == cut("the theatre", 7)
        assert first.locator("label b").inner_text() == "7"
        assert "Merge 7: " in said
        first.get_by_role("combobox", name="Text").select_option("1")
        assert [chip[1] for chip in first.evaluate(READ)[1]] == cut(TEXTS[1], 7)
        assert second.evaluate(READ) == before
        assert page.locator("[id]").count() == 0


def test_the_token_of_the_last_merge_stands_out(browser, folder):
    with opened(browser, folder / "light.html") as page:
        group = page.get_by_role("group", name="Tokens")
        n = next(n for n in range(1, len(MERGES)) if 255 + n in cut(TEXTS[0], n))
        group.get_by_role("slider").fill(str(n))
        assert {chip[1] for chip in group.evaluate(READ)[1] if chip[3]} == {255 + n}
        assert group.locator("li.new").first.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


@pytest.mark.parametrize("theme", PAPER)
def test_it_fits_a_phone_and_its_chips_are_legible(browser, folder, theme):
    with opened(browser, folder / f"{theme}.html", viewport={"width": 360, "height": 740}) as page:
        group = page.get_by_role("group", name="Tokens")
        group.get_by_label("Text").select_option("4")
        group.get_by_role("slider").fill("60")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for i in range(4):
            shade, ink = (
                group.locator("li")
                .nth(i)
                .evaluate(
                    """e => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
                    const fill = (colour) => { c.fillStyle = colour; c.fillRect(0, 0, 1, 1);
                        return [...c.getImageData(0, 0, 1, 1).data] };
                    fill(getComputedStyle(document.body).backgroundColor);
                    return [fill(getComputedStyle(e).backgroundColor), fill(getComputedStyle(e).color)] }"""
                )
            )
            assert contrast(tuple(v / 255 for v in shade[:3]), tuple(v / 255 for v in ink[:3])) >= 4.5
            assert shade[:3] != [int(PAPER[theme][k : k + 2], 16) for k in (1, 3, 5)]
        less, more = (group.locator(f"[data-role={role}]").bounding_box() for role in ("less", "more"))
        assert less["y"] == more["y"]  # beside each other
        for name in ("−1 merge", "+1 merge"):
            assert group.get_by_role("button", name=name).bounding_box()["height"] >= 36
