"""Capitals: pairs known by heart, and mentions counted by hand."""

import re

from course_lib.data.corpora import capitals as module
from course_lib.data.corpora.capitals import Capital, capitals
from course_lib.data.corpora.wikipedia import Article, wikipedia_leads


def test_well_known_capitals_are_there():
    cities = {capital.country: capital.city for capital in capitals()}
    assert len(cities) == len(capitals()) == 106
    assert cities["Germany"] == "Berlin"
    assert cities["Kenya"] == "Nairobi"
    assert cities["Yemen"] == "Sanaa"  # not Aden, its temporary capital
    assert cities["Libya"] == "Tripoli"  # its article is called "Tripoli, Libya"


def test_mentions_are_whole_words_and_fall():
    found = capitals()
    mentions = [capital.mentions for capital in found]
    assert mentions == sorted(mentions, reverse=True)
    (niger,) = (capital for capital in found if capital.country == "Niger")
    assert niger.mentions == sum(bool(re.search(r"\bNiger\b", article.extract)) for article in wikipedia_leads())


def test_what_counts_as_a_capital(monkeypatch):
    articles = [
        Article("Aland", "Aland is next to Bland.", "Country in the north", "Geography"),
        Article("Bland", "Bland, once a part of Aland, is flat. Aland left it.", "Country in the south", "Geography"),
        Article("A City", "A City lies in Alandia.", "Capital and largest city of Aland", "Geography"),
        Article("B City, Bland", "It is in Bland.", "Capital of the Bland", "Geography"),
        Article("Port", "It trades.", "Economic capital of Bland", "Geography"),
        Article("Old City", "It was.", "Capital of Cland", "Geography"),  # no article of that name
        Article("A song", "It is sung.", "Capital of Bland", "Arts"),
    ]
    monkeypatch.setattr(module, "wikipedia_leads", lambda: articles)
    assert capitals() == [Capital("Bland", "B City", 3), Capital("Aland", "A City", 2)]
