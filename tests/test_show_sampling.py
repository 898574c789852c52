"""The sampling explorer: its page computes what `course_lib.infer.generation.sampling` does, seen in a real browser."""

import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from show_pages import PAPER, opened, write_pages

from course_lib import show
from course_lib.infer.generation.sampling import Sampling, probabilities
from course_lib.show import next_token
from course_lib.show.explorers import LIMIT
from course_lib.show.next_token import EXACT, SETTINGS

VOCAB = 5000


def row(seed, vocab=VOCAB):
    """Logits as real models give them: a few far ahead, and a long tail."""
    rng = np.random.default_rng(seed)
    return torch.tensor(np.sort(rng.gumbel(size=vocab) * 1.7)[rng.permutation(vocab)])


ROWS = [row(0), row(1), torch.tensor([2.0, 1.0, 1.0, -math.inf, 0.0])]
NAMES = ["The capital of", "<b> & more", "Few"]


def decode(i):
    return f" t{i}" if i % 2 else f"t{i}\n"


def shares(logits, **settings):
    return probabilities(logits, Sampling(**settings))


def collected(monkeypatch, names=NAMES, rows=ROWS, **more):
    outputs = []
    monkeypatch.setattr(next_token, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle))
    show.sampling_explorer(names, rows, [decode] * len(rows), title="Next", **more)
    return outputs[0]


def test_one_output_for_notebooks_and_pages(monkeypatch):
    bundle = collected(monkeypatch)
    assert set(bundle) == {"text/html", "text/plain"}
    assert "<b> &" not in bundle["text/html"].split("<script")[0]
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|XMLHttpRequest|import\(| id=", bundle["text/html"])
    assert bundle["text/html"] == collected(monkeypatch)["text/html"]


def test_the_rest_is_stored_in_few_numbers_with_its_exact_mass(monkeypatch):
    html = collected(monkeypatch, ["large"], [row(2, 50_000)])["text/html"]
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])["prompts"][0]
    assert len(data["logits"]) == EXACT
    assert len(data["groups"]) < 400
    assert sum(count for count, _ in data["groups"]) == 50_000 - EXACT
    falling = row(2, 50_000).sort(descending=True).values
    mass = sum(count * math.exp(logit) for count, logit in data["groups"])
    assert mass == pytest.approx(falling[EXACT:].exp().sum().item(), rel=1e-3)
    assert data["tokens"][0] == next_token.visible(decode(int(row(2, 50_000).argmax())))
    assert len(html.encode()) < LIMIT / 8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: show.sampling_explorer([], [], []),
        lambda: show.sampling_explorer(["a"], ROWS[:2], [decode]),
        lambda: show.sampling_explorer(["a"], [ROWS[0][None]], [decode]),
        lambda: show.sampling_explorer(["a"], [torch.full((3,), math.nan)], [decode]),
        lambda: show.sampling_explorer(["a"], [torch.full((3,), -math.inf)], [decode]),
        lambda: show.sampling_explorer(["a"], [torch.zeros(0)], [decode]),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(wrong):
    with pytest.raises(ValueError, match=r"sampling_explorer\(\)"):
        wrong()


def test_visible_tokens():
    assert [next_token.visible(token) for token in (" a b", "\n\t", "")] == ["␣a␣b", "↵⇥", "(nothing)"]


# In the browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    outputs = [collected(patch)["text/html"], collected(patch, NAMES[1:], ROWS[1:])["text/html"]]
    patch.undo()
    return write_pages(tmp_path_factory.mktemp("sampling"), outputs)


# The sentence, then the rows (name, before, now, number, class) of the page.
READ = """e => [e.querySelector('.said').textContent, ...[...e.querySelectorAll('li')].map(li => [
    li.querySelector('span').textContent, li.querySelector('i').style.getPropertyValue('--before'),
    li.querySelector('i').style.getPropertyValue('--now'), li.querySelector('b').textContent, li.className])]"""


def read(shown):
    return shown.evaluate(READ)


def read_at(group, cases):
    """What the page shows after its controls were put to the places of each case."""
    return group.evaluate(
        f"""(e, cases) => cases.map((places) => {{
            for (const role in places) {{
                const control = e.querySelector(`[data-role=${{role}}]`);
                control.value = places[role];
                control.dispatchEvent(new Event(control.tagName === 'SELECT' ? 'change' : 'input'));
            }}
            return ({READ})(e); }})""",
        cases,
    )


SAID = re.compile(r"([\d,]+) of ([\d,]+) tokens .* Entropy: ([\d.]+) bits, as in a fair choice among ([\d,.]+)\.")


def expected(prompt, **places):
    values = {role: SETTINGS[role][place] for role, place in places.items()}
    logits = ROWS[prompt]
    # Sorted by what comes out, since which one of two alike top-p drops is nobody's promise.
    return shares(logits, **values).sort(descending=True).values.numpy()[: int(logits.isfinite().sum())]


CASES = [
    dict(zip(SETTINGS, case, strict=True))
    for case in itertools.chain(
        itertools.product([0, 1, 5, 10, 20], [9], [11], [0]),  # each alone
        itertools.product([10], range(10), [11], [0]),
        itertools.product([10], [9], range(12), [0]),
        itertools.product([10], [9], [11], range(8)),
        itertools.product([3, 8, 15, 20], [4, 8, 9], [4, 8, 9, 11], [0, 1, 5]),  # all together
    )
]


@pytest.mark.parametrize("prompt", range(3), ids=["first", "second", "few"])
def test_the_page_computes_what_the_library_does(browser, folder, prompt):
    with opened(browser, folder / "light.html") as page:
        group = page.get_by_role("group", name="Next").first
        found = read_at(group, [{"prompt": prompt} | places for places in CASES])
        for places, (said, *rows) in zip(CASES, found, strict=True):
            after = expected(prompt, **places)
            n = min(15, len(after))
            wanted = [*after[:n], *([after[n:].sum()] if len(after) > n else [])]
            for (_, _, now, number, kind), share in zip(rows, wanted, strict=True):
                assert float(now) == pytest.approx(share, abs=5e-4), places
                assert (number == "out") == (kind == "out") == (share == 0), places
                assert number == "out" or float(number[:-1]) / 100 == pytest.approx(share, abs=1e-3)
            left, of, bits, fair = (float(part.replace(",", "")) for part in SAID.fullmatch(said).groups())
            there = after[after > 0]
            true_bits = -(there * np.log2(there)).sum()
            assert of == len(after)
            assert left == pytest.approx((after >= 1e-6).sum(), abs=0 if len(there) <= EXACT else 3, rel=0.03), places
            assert bits == pytest.approx(true_bits, abs=0.0151), places
            assert fair == pytest.approx(2**true_bits, rel=0.011, abs=0.06), places


def test_the_keyboard_moves_its_sliders_and_no_others(browser, folder):
    with opened(browser, folder / "light.html") as page:
        first, second = page.get_by_role("group", name="Next").all()
        before = read(second)
        first.get_by_label("Text before it").select_option("2")
        assert [one[0] for one in read(first)[1:]] == ["t0↵", "␣t1", "t2↵", "t4↵"]
        first.get_by_label("Text before it").select_option("0")
        first.get_by_label("Text before it").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Home")
        slide = first.get_by_role("slider", name="Temperature")
        assert slide.get_attribute("aria-valuetext") == "0"
        assert [one[3] for one in read(first)[1:]] == ["100.0%", *["out"] * 15]
        for name in ("Top-k", "Top-p", "Min-p"):
            page.keyboard.press("Tab")
            assert first.get_by_role("slider", name=name).evaluate("e => e === document.activeElement")
        assert read(second) == before
        assert page.locator("[id]").count() == 0


@pytest.mark.parametrize("theme", PAPER)
def test_it_fits_a_phone_and_takes_the_colours_of_the_page(browser, folder, theme):
    with opened(browser, folder / f"{theme}.html", viewport={"width": 360, "height": 740}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        body = page.evaluate("getComputedStyle(document.body).color")
        for selector in (".said", "li span", "li b", "label"):
            one = page.locator(f".course-explorer {selector}").first
            assert one.evaluate("e => getComputedStyle(e).color") == body
        full = page.locator(".course-explorer li i").first
        wide = full.evaluate("e => [e.clientWidth, parseFloat(getComputedStyle(e, '::before').width)]")
        now = float(read(page.get_by_role("group", name="Next").first)[1][2])
        assert wide[0] > 100
        assert wide[1] / wide[0] == pytest.approx(now, abs=0.02)
