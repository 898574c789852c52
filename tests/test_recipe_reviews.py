"""`course train reviews`: its lists and labels, and what it reports of them."""

import pytest
import torch

from course_lib.data.tokenizers.pretrained import smollm2_tokenizer
from course_lib.models import GPT, GPTConfig
from course_lib.recipes import reviews_sweep as sweep
from course_lib.recipes.run import Run


@pytest.fixture
def tiny(monkeypatch):
    """A small model that has learned nothing, in place of SmolLM2."""
    tokenizer = smollm2_tokenizer()
    torch.manual_seed(0)
    model = GPT(GPTConfig(tokenizer.get_vocab_size(), context=512, d_model=8, n_layers=1, n_heads=2)).eval()
    monkeypatch.setattr(sweep, "smollm2", lambda: (model, tokenizer))
    monkeypatch.setitem(sweep.PRESETS, "cpu", sweep.ReviewsPlan(8))
    return model, tokenizer


def test_a_list_has_four_of_each_label_and_asks_for_each_equally_often():
    lists = sweep.review_lists(10, seed=3)
    assert (lists.labels.sum(1) == 4).all()
    assert lists.truth[:, -1].tolist() == [0, 1] * 5
    assert all(len(texts) == 9 and all(len(text.split()) <= 8 for text in texts) for texts in lists.texts)


def test_labels_that_say_nothing():
    labels = sweep.review_lists(50, seed=3).labels
    shown = sweep.half_of_them_right(labels, seed=0)
    assert (shown.sum(1) == 4).all()
    assert ((shown == labels).sum(1) == 4).all()
    assert len({tuple(row) for row in (shown == labels).tolist()}) > 10


def test_a_list_is_read_as_if_it_were_alone(tiny, monkeypatch):
    lists = sweep.review_lists(4, seed=3)
    together = sweep.leaning(*tiny, lists, lists.labels)
    monkeypatch.setattr(sweep, "AT_A_TIME", 1)
    torch.testing.assert_close(sweep.leaning(*tiny, lists, lists.labels), together)
    others = sweep.leaning(*tiny, lists, 1 - lists.labels)
    assert others[:, 0].equal(together[:, 0])  # asked before any label is shown
    assert not others[:, 1:].isclose(together[:, 1:]).any()


def test_shares_and_paired_differences(tiny):
    lists = sweep.review_lists(8, seed=3)
    knows, last_wrong = lists.truth * 2.0 - 1, lists.truth * 2.0 - 1
    last_wrong[:, 8] *= -1
    values = sweep.shares(lists, {"true": knows, "flipped": last_wrong, "half-right": -knows})
    assert values["reviews.true.later"] == values["reviews.shots.8"] == 1
    assert values["reviews.flipped-less-true"] == pytest.approx(-0.2)
    assert values["reviews.flipped-less-true.from"] == pytest.approx(-0.2)  # on every list
    assert values["reviews.half-right-less-true"] == -1
    assert values["reviews.shots.8-less-0"] == 0


def test_a_run(tiny, tmp_path):
    results = sweep.reviews(Run("reviews", tmp_path / "out", seed=3, preset="cpu"))
    assert results.controls == {"reviews.flipped.later": "reviews.true.later"}
    again = sweep.reviews(Run("reviews", tmp_path / "out", seed=3, preset="cpu", resume=True))
    assert again.values == results.values
    for key in ("true.later", "flipped-less-true", "shots.4", "shots.4-less-0"):
        low, high = (results.values[f"reviews.{key}.{end}"] for end in ("from", "to"))
        assert low <= results.values[f"reviews.{key}"] <= high
