"""The attention explorer: one output, a twin that is small, complete and the same every time, and the widgets."""

import base64
import json
import re

import ipywidgets
import numpy as np
import pytest
import torch

from course_lib import show
from course_lib.show import explore
from course_lib.show.attention import SHORT, Attention, evenly, pack, twin
from course_lib.show.twin import LIMIT


def weights(layers, heads, n, seed=0, causal=True):
    scores = np.random.default_rng(seed).normal(size=(layers, heads, n, n)) * 2
    if causal:
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sample(layers=3, heads=2, lengths=(4, 6), causal=True):
    tokens = [[f"w{i}" for i in range(n)] for n in lengths]
    arrays = [weights(layers, heads, n, n, causal) for n in lengths]
    return Attention([" ".join(t) for t in tokens], tokens, arrays)


def show_explorer(monkeypatch, attention, **kwargs):
    outputs = []
    monkeypatch.setattr(explore, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle))
    show.explorer(attention.names, attention.tokens, attention.weights, **kwargs)
    assert len(outputs) == 1
    return outputs[0]


def data_of(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])


def test_widget_and_twin_travel_in_one_bundle(monkeypatch):
    bundle = show_explorer(monkeypatch, sample())
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert 'class="course-explorer attention"' in bundle["text/html"]
    assert "widget" not in bundle["text/html"]


@pytest.mark.parametrize("place", [{"sentence": 2}, {"layer": 3}, {"head": -1}, {"query": 4}])
def test_a_start_that_is_not_there_is_refused(monkeypatch, place):
    with pytest.raises(ValueError, match=rf"{next(iter(place))}=-?\d is not among the \d there are"):
        show_explorer(monkeypatch, sample(), **place)


@pytest.mark.parametrize("causal", [True, False])
def test_the_twin_holds_the_weights(causal):
    attention = sample(causal=causal)
    data = data_of(twin(attention, title="t", start=(0, 1, 1, 2)))
    assert data["causal"] is causal
    for stored, true in zip(data["sentences"], attention.weights, strict=True):
        n = true.shape[-1]
        flat = (np.frombuffer(base64.b64decode(stored["weights"]), np.uint8) / 255) ** 2
        expected = true[:, :, *np.tril_indices(n)] if causal else true
        assert flat.reshape(expected.shape) == pytest.approx(expected, abs=0.004)


def test_small_weights_keep_their_digits():
    packed = np.frombuffer(base64.b64decode(pack(np.full((1, 1, 1, 1), 0.003), True)), np.uint8)
    assert (packed[0] / 255) ** 2 == pytest.approx(0.003, rel=0.1)


def test_equal_input_gives_equal_html():
    assert twin(sample(), title="t", start=(0, 0, 0, 0)) == twin(sample(), title="t", start=(0, 0, 0, 0))


def test_nothing_in_the_twin_can_clash_or_leave_the_page():
    html = twin(sample(), title="t", start=(0, 0, 0, 0))
    assert " id=" not in html
    assert "getElementById" not in html
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|XMLHttpRequest|import\(", html)
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")  # a name space, not an address


def test_a_token_cannot_end_the_script():
    attention = sample(lengths=(2,))
    attention.tokens[0][:] = ["</script><b>", "<!--"]
    html = twin(attention, title="</div>", start=(0, 0, 0, 0))
    assert "</script><b>" not in html
    assert data_of(html)["sentences"][0]["tokens"] == ["</script><b>", "<!--"]
    assert "&lt;/div&gt;" in html


def test_the_size_of_a_real_model_fits_without_loss():
    html = twin(sample(30, 9, (12, 14, 16)), title="t", start=(0, 29, 8, 3))
    assert len(html.encode()) <= LIMIT
    assert "To stay small" not in html


@pytest.mark.parametrize("lengths", [(30, 30, 30), (64, 64, 64), (200,), (31,) * 20])
def test_what_is_too_large_is_reduced_and_said_so(lengths):
    html = twin(sample(30, 9, lengths), title="t", start=(0, 17, 4, 3))
    assert len(html.encode()) <= LIMIT
    assert len(html.encode()) > LIMIT * 0.6  # and no more than needed
    assert "To stay small, this page holds" in html
    layers = re.search(r'data-role="layer".*?</select>', html, re.S)[0]
    assert '" selected>17</option>' in layers
    longest = max(len(sentence["tokens"]) for sentence in data_of(html)["sentences"])
    assert longest == min(SHORT, max(lengths))
    assert ("the first 32 tokens" in html) == (max(lengths) > SHORT)


def test_the_note_names_the_layers_that_are_offered():
    html = twin(sample(30, 9, (30, 30, 30)), title="t", start=(0, 0, 0, 0), layers=range(0, 30, 2))
    offered = re.findall(r">(\d+)</option>", re.search(r'data-role="layer".*?</select>', html, re.S)[0])
    assert f"layers {', '.join(offered)} of 30" in html
    assert all(int(layer) % 2 == 0 for layer in offered)


def test_what_cannot_fit_is_refused():
    with pytest.raises(ValueError, match="fewer or shorter sentences"):
        twin(sample(1, 1, (600,), causal=False), title="t", start=(0, 0, 0, 0))


def test_layers_are_kept_evenly_and_with_the_one_wanted():
    assert evenly(range(30), 4, 7) == [0, 7, 19, 29]
    assert evenly(range(3), 5, 1) == [0, 1, 2]
    assert evenly(range(9), 1, 5) == [5]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: (a.names[:1], a.tokens, a.weights),
        lambda a: (a.names, a.tokens, [w[0] for w in a.weights]),
        lambda a: (a.names, a.tokens, [w[..., :-1] for w in a.weights]),
        lambda a: (a.names, a.tokens, [a.weights[0], a.weights[1][:1]]),
        lambda a: ([], [], []),
    ],
)
def test_tokens_and_weights_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match=r"explorer\(\)"):
        show.explorer(*change(sample()))


def test_the_widgets_redraw_the_map():
    attention = sample()
    box = explore.live(attention, "Title", (0, 0, 0, 3))
    _, sentence, layer, head, token, skip, view = box.children
    seen = {view.value}
    for control, value in ((layer, 2), (head, 1), (token, 1), (skip, True), (sentence, 1)):
        control.value = value
        seen.add(view.value)
    assert len(seen) == 6
    assert len(token.options) == 6
    assert f"{explore.without_first(attention.weights[1][2, 1])[1, 1]:.2f}" in view.value
    assert all(control.description for control in (sentence, layer, head, token, skip))
    sentence.value = 0
    assert len(token.options) == 4


def test_tensors_are_taken_as_they_come_from_a_model(monkeypatch):
    w = torch.full((2, 2, 3, 3), 1 / 3, requires_grad=True)
    outputs = []
    monkeypatch.setattr(explore, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle))
    show.explorer(["abc"], [["a", "b", "c"]], [w])
    assert len(data_of(outputs[0]["text/html"])["sentences"][0]["tokens"]) == 3


def test_left_out_first_token_rescales_the_rest():
    rest = explore.without_first(np.array([[1.0, 0.0], [0.75, 0.25]]))
    assert rest.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert isinstance(explore.live(sample(), "t", (0, 0, 0, 0)), ipywidgets.VBox)
