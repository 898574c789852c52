"""A classifier on an encoder: what it reads, where it begins, and that it learns what can be learned."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.data.worlds.words import word_tokenizer
from course_lib.models import Bert, BertConfig
from course_lib.train import TrainConfig, train
from course_lib.tune.classify import Classifier, classification_loss, label_texts

TOKENIZER = word_tokenizer(["a", "b", "c", "d"])


def classifier():
    torch.manual_seed(0)
    return Classifier(Bert(BertConfig(vocab_size=6, context=8, d_model=16, n_layers=1, n_heads=2, head="none")), 2)


def test_texts_are_cut_and_filled_up_and_padding_does_not_matter():
    texts = label_texts(TOKENIZER, ["a b c d", "d"], [1, 0], tokens=3)
    assert texts.ids.tolist()[0] == [2, 3, 4]
    model = classifier().double()
    together, alone = model.features(texts), model.features(label_texts(TOKENIZER, ["d"], [0], tokens=3))
    assert_close(together[1:], alone, rtol=1e-12, atol=1e-12)
    assert_close(together.norm(dim=1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(("texts", "tokens"), [(["", "a"], 3), (["a", ""], 3), (["a", "b"], 0)])
def test_a_text_without_tokens_is_refused(texts, tokens):
    """The mean of nothing is NaN, and one NaN spoils the whole batch."""
    with pytest.raises(ValueError, match=r"of text \d, '.*', no token is left"):
        label_texts(TOKENIZER, texts, [1, 0], tokens)


def test_at_first_all_classes_are_equally_likely():
    texts = label_texts(TOKENIZER, ["a b", "c"], [1, 0], tokens=3)
    assert classification_loss(classifier(), texts).mean.item() == pytest.approx(math.log(2))


def test_it_learns_whether_there_is_an_a():
    texts = label_texts(TOKENIZER, ["a b", "c d", "b a", "d b", "a d", "b c"], [1, 0, 1, 0, 1, 0], tokens=3)
    model = classifier()
    train(model, lambda generator: texts, classification_loss, TrainConfig(60, lr=1e-2, warmup_steps=5))
    assert model(texts).argmax(1).equal(texts.labels)
    with pytest.raises(ValueError, match="2 texts and 1 labels"):
        label_texts(TOKENIZER, ["a", "b"], [0], tokens=3)
