"""The corpus that recipes read: whole articles on one side each, the exact bytes, and one file that is enough."""

import math
import random

import pytest
import torch

from course_lib.data.corpora import pretraining
from course_lib.data.corpora.pretraining import pretraining_corpus, pretraining_corpus_file
from course_lib.data.corpora.wikipedia import Article, wikipedia_leads
from course_lib.data.tokenizers.fast_bpe import END
from course_lib.errors import DataError

VOCABULARY = 400


def articles(language="en"):
    draw = random.Random(language)
    words = ["Städte", "river", "die", "the", "日本", "of", "1984", "…"]
    return [Article(f"Title {i}", " ".join(draw.choices(words, k=9)) + language, "", "") for i in range(300)]


@pytest.fixture
def sources(cache, monkeypatch):
    monkeypatch.setattr(pretraining, "wikipedia_leads", articles)
    return cache


def texts(part, text):
    """The articles of a part, cut at the end token."""
    end = text.tokenizer.special_id(END)
    assert part[-1] == end
    return [text.tokenizer.decode(ids[:-1]) for ids in part.tensor_split((part == end).nonzero().flatten() + 1)[:-1]]


def test_the_parts_hold_every_article_once(sources):
    text = pretraining_corpus(VOCABULARY)
    found = [texts(part, text) for part in (text.train, text.validation, text.test)]
    assert sorted(extract for part in found for extract in part) == sorted(article.extract for article in articles())
    assert 0.7 < len(found[0]) / 300 < 0.9
    assert 15 <= len(found[1]) <= 45
    assert 15 <= len(found[2]) <= 45


def test_a_title_is_on_one_side_in_all_languages(sources):
    text = pretraining_corpus(VOCABULARY, ("en", "fr"))
    side = {}
    titles = {article.extract: article.title for language in ("en", "fr") for article in articles(language)}
    for number, part in enumerate((text.train, text.validation, text.test)):
        for extract in texts(part, text):
            assert side.setdefault(titles[extract], number) == number
    assert len(side) == 300


def test_the_vocabulary_is_learnt_from_the_training_part_alone(sources, monkeypatch):
    before = pretraining_corpus(VOCABULARY)
    held_out = set(texts(before.validation, before)) | set(texts(before.test, before))

    def other(language="en"):
        return [Article(a.title, "zzzz qqqq " * 50 if a.extract in held_out else a.extract, "", "") for a in articles()]

    pretraining_corpus_file(VOCABULARY).unlink()
    monkeypatch.setattr(pretraining, "wikipedia_leads", other)
    after = pretraining_corpus(VOCABULARY)
    assert after.tokenizer.bpe == before.tokenizer.bpe
    assert torch.equal(after.train, before.train)
    assert not torch.equal(after.test, before.test)


def test_bytes_of_tokens_are_those_of_the_text(sources):
    text = pretraining_corpus(VOCABULARY)
    n_bytes = sum(len(extract.encode()) for extract in texts(text.test, text))
    assert text.n_bytes[text.test].sum() == n_bytes
    assert text.bits_per_byte(n_bytes * math.log(2), text.test) == pytest.approx(1)
    assert text.n_bytes[text.tokenizer.special_id(END)] == 0


def test_the_file_alone_is_enough(sources, monkeypatch):
    first = pretraining_corpus(VOCABULARY)
    assert list(sources.glob("*.npz")) == [pretraining_corpus_file(VOCABULARY)]

    def gone(language):
        raise DataError("there is no network")

    monkeypatch.setattr(pretraining, "wikipedia_leads", gone)
    again = pretraining_corpus(VOCABULARY)
    assert torch.equal(again.train, first.train)
    assert again.tokenizer.bpe == first.tokenizer.bpe
    with pytest.raises(DataError, match="no network"):
        pretraining_corpus(VOCABULARY + 1)


def test_other_cuts_or_sizes_are_other_files(sources, monkeypatch):
    files = {
        pretraining_corpus_file(VOCABULARY),
        pretraining_corpus_file(VOCABULARY + 1),
        pretraining_corpus_file(VOCABULARY, ("en", "fr")),
    }
    monkeypatch.setattr(pretraining, "PATTERN", r"\S+|\s+")
    assert len(files | {pretraining_corpus_file(VOCABULARY)}) == 4


def test_another_language_is_refused(cache):
    with pytest.raises(ValueError, match="en, fr, es, not in 'de'"):
        wikipedia_leads("de")
    with pytest.raises(ValueError, match="en, fr, es, not in 'de'"):
        pretraining_corpus(VOCABULARY, ("de",))
