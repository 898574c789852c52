"""The router explorer: what it holds, and what it refuses."""

import json
import re

import pytest
import torch
from show_pages import PAPER, colours, contrast, opened, write_pages

from course_lib import show
from course_lib.show import routing


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(routing, "display_bundle", lambda bundle: outputs.append(bundle))
    return outputs


LAYER = (torch.tensor([[2, 0], [1, 2]]), torch.tensor([[0.75, 0.25], [0.625, 0.375]]))

FIRST = tuple(part[:1] for part in LAYER)


def test_it_holds_each_tokens_experts_and_weights(shown):
    show.router_explorer(["a <b>"], [["a", " <b>"]], [[LAYER, LAYER]], n_experts=3)
    (bundle,) = shown
    assert bundle["text/plain"] == "[Which expert takes which token?: 1 texts, 2 layers, 3 experts]"
    held = json.loads(re.search(r'<script type="application/json">(.*?)</script>', bundle["text/html"], re.DOTALL)[1])
    (text,) = held["texts"]
    assert text["tokens"] == ["a", " <b>"]
    assert text["layers"][1] == [[[2, 0], [0.75, 0.25]], [[1, 2], [0.62, 0.38]]]
    assert "<b>" not in bundle["text/html"]


def test_choices_have_to_fit_the_tokens():
    with pytest.raises(ValueError, match="do not fit the 3 tokens of 'x'"):
        show.router_explorer(["x"], [["a", "b", "c"]], [[LAYER]], n_experts=3)
    with pytest.raises(ValueError, match="for each text"):
        show.router_explorer([], [], [], n_experts=3)


# In a real browser


@pytest.fixture
def pages(shown, tmp_path):
    other = (torch.tensor([[1, 0], [1, 0]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    show.router_explorer(["a b", "c"], [["a", " b"], ["c"]], [[LAYER, other], [FIRST, FIRST]], n_experts=3)
    return write_pages(tmp_path, [shown[0]["text/html"]])


def test_it_says_who_takes_what_and_every_control_changes_it(browser, pages):
    with opened(browser, pages / "light.html") as page:
        explorer = page.get_by_role("group", name="Which expert takes which token?")
        tokens, said = explorer.locator(".tokens button"), explorer.locator(".said")
        assert tokens.locator("small").all_inner_texts() == ["2+1", "2+1"]  # the last layer
        assert said.inner_text() == "Expert 1 takes 2 of 2 tokens: “a”, “b”."
        explorer.get_by_role("combobox", name="Layer").select_option(index=0)
        assert tokens.locator("small").all_inner_texts() == ["3+1", "2+3"]
        assert said.inner_text() == "Expert 1 takes 1 of 2 tokens: “a”."
        explorer.get_by_role("combobox", name="Expert").select_option(index=2)
        assert [button.get_attribute("aria-pressed") for button in tokens.all()] == ["true", "false"]
        tokens.last.focus()
        page.keyboard.press("Enter")
        assert said.inner_text().startswith("“b” goes to expert 2 (weight 0.62) and expert 3 (weight 0.38).")
        assert explorer.get_by_role("combobox", name="Expert").input_value() == "1"
        explorer.get_by_role("combobox", name="Text").select_option(index=1)
        assert tokens.count() == 1


@pytest.mark.parametrize("theme", PAPER)
def test_it_is_legible_on_its_shading_and_no_wider_than_a_phone(browser, pages, theme):
    with opened(browser, pages / f"{theme}.html", viewport={"width": 390, "height": 800}) as page:
        page.get_by_role("combobox", name="Layer").select_option(index=0)
        page.get_by_role("combobox", name="Expert").select_option(index=2)
        taken, other = (colours(button) for button in page.locator(".tokens button").all())
        assert contrast(*taken) >= 4.5
        assert taken[0] != other[0]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
