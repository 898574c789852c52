"""Countries and their capitals, with how often Wikipedia's opening paragraphs name each country."""

from __future__ import annotations

import re
from typing import NamedTuple

from course_lib.data.corpora.wikipedia import wikipedia_leads

# As "Capital and largest city of Kenya", but neither "Capital of Aragon, Spain" nor "Economic capital of Cameroon".
_DESCRIPTION = re.compile(r"Capital\b.* of (?:the )?(?P<country>[A-Z][\w' ]+)")


class Capital(NamedTuple):
    """A country, its capital, and the number of opening paragraphs that name the country."""

    country: str
    city: str
    mentions: int


def capitals() -> list[Capital]:
    """Load about 100 countries with their capitals, the country that is named most often first.

    The capital is read off Wikipedia's description of the city ("Capital of Kenya"); a country counts if it has an
    article too. "Guinea" is also found in "Equatorial Guinea". Licence CC BY-SA 4.0.

    Raises:
        DataError: If the articles cannot be fetched.
    """
    articles = wikipedia_leads()
    titles = {article.title for article in articles}
    texts = [article.extract for article in articles]
    found = []
    for article in articles:
        description = _DESCRIPTION.fullmatch(article.description or "")
        if description and article.topic == "Geography" and (country := description["country"]) in titles:
            word = re.compile(rf"\b{re.escape(country)}\b")
            mentions = sum(country in text and bool(word.search(text)) for text in texts)
            found.append(Capital(country, article.title.partition(",")[0], mentions))
    return sorted(found, key=lambda capital: (-capital.mentions, capital.country))
