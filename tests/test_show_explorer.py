"""The attention explorer: one output that is small, complete and the same every time."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from course_lib import show
from course_lib.show import attention
from course_lib.show.attention import SHORT, evenly, pack
from course_lib.show.explorers import LIMIT


def weights(layers, heads, n, seed=0, causal=True):
    scores = np.random.default_rng(seed).normal(size=(layers, heads, n, n)) * 2
    if causal:
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sample(layers=3, heads=2, lengths=(4, 6), causal=True):
    tokens = [[f"w{i}" for i in range(n)] for n in lengths]
    arrays = [weights(layers, heads, n, n, causal) for n in lengths]
    return [" ".join(t) for t in tokens], tokens, arrays


@pytest.fixture
def shown(monkeypatch):
    """Shows an explorer, and returns the one output."""

    def shown(sentences, tokens, weights, **options):
        outputs = []
        monkeypatch.setattr(attention, "display_bundle", lambda bundle, metadata=None: outputs.append(bundle))
        show.explorer(sentences, tokens, weights, **options)
        (bundle,) = outputs
        return bundle

    return shown


@pytest.fixture
def html_of(shown):
    return lambda *args, **options: shown(*args, **options)["text/html"]


def data_of(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])


def test_one_output_for_notebooks_and_pages(shown):
    bundle = shown(*sample())
    assert set(bundle) == {"text/html", "text/plain"}
    assert 'class="course-explorer attention"' in bundle["text/html"]


@pytest.mark.parametrize("place", [{"layer": 3}, {"head": -1}])
def test_a_start_that_is_not_there_is_refused(shown, place):
    with pytest.raises(ValueError, match=rf"{next(iter(place))}=-?\d is not among the \d there are"):
        shown(*sample(), **place)


@pytest.mark.parametrize("causal", [True, False])
def test_it_holds_the_weights(html_of, causal):
    sentences, tokens, weights = sample(causal=causal)
    data = data_of(html_of(sentences, tokens, weights, layer=1, head=1))
    assert data["causal"] is causal
    for stored, true in zip(data["sentences"], weights, strict=True):
        n = true.shape[-1]
        flat = (np.frombuffer(base64.b64decode(stored["weights"]), np.uint8) / 255) ** 2
        expected = true[:, :, *np.tril_indices(n)] if causal else true
        assert flat.reshape(expected.shape) == pytest.approx(expected, abs=0.004)


def test_small_weights_keep_their_digits():
    packed = pack(np.full((1, 1, 1, 1), 0.003), True)
    assert (packed.item() / 255) ** 2 == pytest.approx(0.003, rel=0.1)


def test_equal_input_gives_equal_html(html_of):
    assert html_of(*sample()) == html_of(*sample())


def test_nothing_in_it_can_clash_or_leave_the_page(html_of):
    html = html_of(*sample())
    assert " id=" not in html
    assert "getElementById" not in html
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|XMLHttpRequest|import\(", html)
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")  # a name space, not an address


def test_a_token_cannot_end_the_script(html_of):
    sentences, _, weights = sample(lengths=(2,))
    html = html_of(sentences, [["</script><b>", "<!--"]], weights, title="</div>")
    assert "</script><b>" not in html
    assert data_of(html)["sentences"][0]["tokens"] == ["</script><b>", "<!--"]
    assert "&lt;/div&gt;" in html


def test_the_size_of_a_real_model_fits_without_loss(html_of):
    html = html_of(*sample(30, 9, (12, 14, 16)), layer=29, head=8)
    assert len(html.encode()) <= LIMIT
    assert "To stay small" not in html


@pytest.mark.parametrize("lengths", [(30, 30, 30), (64, 64, 64), (200,), (31,) * 20])
def test_what_is_too_large_is_reduced_and_said_so(html_of, lengths):
    html = html_of(*sample(30, 9, lengths), layer=17, head=4)
    assert len(html.encode()) <= LIMIT
    assert len(html.encode()) > LIMIT * 0.6  # and no more than needed
    assert "To stay small, this explorer holds only" in html
    layers = re.search(r'data-role="layer".*?</select>', html, re.S)[0]
    assert '" selected>17</option>' in layers
    longest = max(len(sentence["tokens"]) for sentence in data_of(html)["sentences"])
    assert longest == min(SHORT, max(lengths))
    assert ("the first 32 tokens" in html) == (max(lengths) > SHORT)


def test_the_note_names_the_layers_that_are_offered(html_of):
    html = html_of(*sample(30, 9, (30, 30, 30)))
    offered = re.findall(r">(\d+)</option>", re.search(r'data-role="layer".*?</select>', html, re.S)[0])
    assert 0 < len(offered) < 30
    assert f"layers {', '.join(offered)} of 30" in html


def test_what_cannot_fit_is_refused():
    with pytest.raises(ValueError, match="fewer or shorter sentences"):
        show.explorer(*sample(1, 1, (600,), causal=False))


def test_layers_are_kept_evenly_and_with_the_one_wanted():
    assert evenly(30, 4, 7) == [0, 7, 19, 29]
    assert evenly(3, 5, 1) == [0, 1, 2]
    assert evenly(9, 1, 5) == [5]


@pytest.mark.parametrize(
    "change",
    [
        lambda sentences, tokens, weights: (sentences[:1], tokens, weights),
        lambda sentences, tokens, weights: (sentences, tokens, [w[0] for w in weights]),
        lambda sentences, tokens, weights: (sentences, tokens, [w[..., :-1] for w in weights]),
        lambda sentences, tokens, weights: (sentences, tokens, [weights[0], weights[1][:1]]),
        lambda sentences, tokens, weights: ([], [], []),
    ],
)
def test_tokens_and_weights_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match=r"explorer\(\)"):
        show.explorer(*change(*sample()))


def test_tensors_are_taken_as_they_come_from_a_model(html_of):
    w = torch.full((2, 2, 3, 3), 1 / 3, requires_grad=True)
    assert len(data_of(html_of(["abc"], [["a", "b", "c"]], [w]))["sentences"][0]["tokens"]) == 3
