"""The router explorer: what it holds, and what it refuses."""

import json
import re

import pytest
import torch

from course_lib import show
from course_lib.show import routing


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(routing, "display_bundle", lambda bundle: outputs.append(bundle))
    return outputs


LAYER = (torch.tensor([[2, 0], [1, 2]]), torch.tensor([[0.75, 0.25], [0.625, 0.375]]))


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
