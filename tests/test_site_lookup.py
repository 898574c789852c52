"""The lookup model of the first page: the committed weights, and the script that runs them in a browser."""

import json
import sys

import pytest
import torch
from show_pages import opened
from site_project import ROOT

from course_lib.recipes import lookup

HELD = json.loads((ROOT / lookup.FILE).read_text(encoding="utf8"))
STATIC = ROOT / "book" / "_static"
ATTENTION, AVERAGE = (lookup.unpacked(HELD["models"][name]["tensors"]) for name in ("attention", "average"))


@pytest.fixture(scope="module")
def home():
    """The module of the Sphinx extension that draws the figure."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    from course import home

    yield home
    sys.path.remove(str(ROOT / "book" / "_ext"))


@pytest.fixture(scope="module")
def path(home, tmp_path_factory):
    """A page with the figure, its style and its script, and nothing else."""
    parts = [f"<style>{(STATIC / 'home.css').read_text()}</style>", home.html(HELD)]
    parts.append(f"<script>{(STATIC / 'lookup.js').read_text()}</script>")
    page = tmp_path_factory.mktemp("lookup") / "page.html"
    head = '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>t</title>'
    page.write_text(head + "".join(parts), encoding="utf8")
    return page


def questions(n, seed=7):
    found = lookup.WORLD.sample(n, torch.Generator().manual_seed(seed))
    return lookup.WORLD.tokens(found), found.target


def test_rounded_to_bytes_attention_answers_all_and_the_average_stays_at_its_limit():
    assert lookup.accuracy(ATTENTION) == HELD["models"]["attention"]["accuracy_rounded"] >= 0.9995
    limit = lookup.WORLD.unbound_ceiling
    assert lookup.accuracy(AVERAGE) == HELD["models"]["average"]["accuracy_rounded"] == pytest.approx(limit, abs=0.015)
    assert HELD["models"]["attention"]["parameters"] == sum(p.numel() for p in ATTENTION.parameters()) == 7728


def test_packing_is_exact_to_half_a_step_of_each_tensor():
    model = lookup.Lookup(attends=True)
    again = lookup.unpacked(lookup.packed(model)).state_dict()
    for name, tensor in model.state_dict().items():
        step = tensor.abs().max() / 127
        assert (tensor - again[name]).abs().max() <= 0.5001 * step


@pytest.mark.parametrize(("name", "model"), [("attention", ATTENTION), ("average", AVERAGE)])
def test_the_browser_and_torch_give_the_same_logits_and_weights(name, model, browser, path):
    ids, _ = questions(200)
    with torch.no_grad():
        logits, weights = model.double()(ids)
    run = """([name, rows]) => {
        const held = JSON.parse(document.querySelector("figure.lookup script").textContent).models[name];
        const model = Object.fromEntries(Object.entries(held).map(([key, tensor]) => [key, unpack(tensor)]));
        return rows.map((row) => read(model, row)).map(({ logits, weights }) => [[...logits], [...weights]]);
    }"""
    with opened(browser, path) as page:
        found = page.evaluate(run, [name, ids.tolist()])
    model.float()
    # The scales are doubles in the browser and floats in torch: a relative difference of 1e-7 in every weight.
    torch.testing.assert_close(torch.tensor([row[0] for row in found]).double(), logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.tensor([row[1] for row in found]).double(), weights, rtol=1e-4, atol=1e-6)


def test_what_is_drawn_without_a_script_is_what_the_models_say(browser, path, home):
    case = [token for letter, number in home.CASE for token in (letter, lookup.WORLD.n_keys + number)]
    asked = home.CASE[home.ASKED]
    ids = torch.tensor([[*case, asked[0]]])
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    for name, model in (("attention", ATTENTION), ("average", AVERAGE)):
        answer = model(ids)[0].argmax().item()
        assert page.locator(f".{name} .lookup-says b").inner_text() == str(answer)
        assert page.locator(f".{name} .lookup-verdict").inner_text() == ("right" if answer == asked[1] else "wrong")
    assert page.locator(".average .lookup-verdict").inner_text() == "wrong"  # the case shows what it is there for
    assert not page.get_by_role("button", name="New row").is_visible()
    assert "Click" not in page.locator("figure").inner_text()
    context.close()


def test_a_reader_asks_with_the_keyboard_and_sees_where_each_model_looks(browser, path):
    with opened(browser, path, reduced_motion="reduce") as page:
        letters, numbers = page.locator("button.lookup-cell"), page.locator(".attention span.lookup-cell")
        weight = "e => Number(getComputedStyle(e).getPropertyValue('--weight'))"
        for at in (0, 7):
            letters.nth(at).focus()
            page.keyboard.press("Enter")
            assert letters.nth(at).get_attribute("aria-pressed") == "true"
            assert page.locator("button[aria-pressed=true]").count() == 1
            assert page.locator(".lookup-asked").inner_text() == letters.nth(at).inner_text()
            assert page.locator(".attention .lookup-says b").inner_text() == numbers.nth(at).inner_text()
            assert numbers.nth(at).evaluate(weight) > 0.5
            even = [cell.evaluate(weight) for cell in page.locator(".average .lookup-cell").all()]
            assert even == [pytest.approx(1 / 17, abs=1e-3)] * 16
        before = page.locator(".attention .lookup-row").inner_text()
        page.get_by_role("button", name="New row").click()
        assert page.locator(".attention .lookup-row").inner_text() != before
        cells = [cell.inner_text() for cell in page.locator(".attention .lookup-cell").all()]
        assert len(set(cells)) == 16
        assert page.get_by_role("status").inner_text().startswith("Right so far, of 3: attention 3, the average ")
