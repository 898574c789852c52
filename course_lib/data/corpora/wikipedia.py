"""Text to train on: Wikipedia's opening paragraphs, alone and as one text; the Bible; and random windows of a text."""

from __future__ import annotations

import ast
import json
import random
import re
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.packages.fetching import fetch

_LANGUAGES = {"en": "en-us", "fr": "fr-fr", "es": "es-es"}
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,;:'\"()-\n"  # of `lowercase_wikipedia_text`


@dataclass(frozen=True)
class Article:
    """The opening of an article: title, first paragraph, a description of a few words, and topic (one of 12)."""

    title: str
    extract: str
    description: str
    topic: str


def wikipedia_leads(language: str = "en") -> list[Article]:
    """Load the openings of Wikipedia articles in one language, ordered by topic.

    There are 10,033 in English ("en"), 9,955 in French ("fr") and 6,239 in Spanish ("es").
    Licence CC BY-SA 4.0.

    Raises:
        DataError: If they cannot be fetched.
        ValueError: If there are none in that language.
    """
    if language not in _LANGUAGES:
        raise ValueError(f"there are Wikipedia leads in {', '.join(_LANGUAGES)}, not in {language!r}")
    file = fetch("wikipedia-leads") / f"summaries_{_LANGUAGES[language]}.json"
    return [Article(**fields) for fields in json.loads(file.read_text(encoding="utf-8")).values()]


def wikipedia_text() -> str:
    """Load about 4.9 million characters of clean English: the Wikipedia openings in one fixed shuffled order.

    Articles are separated by an empty line. Since they are shuffled, any part of the text has the same mix of topics as
    the rest, so holding out the end is a fair test.

    Raises:
        DataError: If they cannot be fetched.
    """
    articles = wikipedia_leads()
    random.Random(0).shuffle(articles)
    return "\n\n".join(article.extract for article in articles)


def lowercase_wikipedia_text() -> str:
    """Load the text of `wikipedia_text` in lower case, without the characters that are not in ALPHABET.

    Raises:
        DataError: If it cannot be fetched.
    """
    return re.sub(f"[^{re.escape(ALPHABET)}]", "", wikipedia_text().lower())


def king_james() -> str:
    """Load the King James Bible: 4.1 million characters in 4,635 paragraphs, one per line.

    The package's source file has it as one string, which is read without running the file.

    Raises:
        DataError: If it cannot be fetched.
    """
    tree = ast.parse((fetch("king-james-bible") / "plain_text_readers_bible.py").read_text(encoding="utf-8"))
    strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    # Square brackets mark words that the translators added.
    return max(strings, key=len).strip().replace("[", "").replace("]", "")


def sample_windows(
    tokens: Int[Tensor, " tokens"], length: int, batch: int, generator: torch.Generator
) -> Int[Tensor, "{batch} {length}+1"]:
    """Sample windows of length + 1 tokens: inputs are `[:, :-1]`, targets `[:, 1:]`.

    Every window that fits is equally likely.

    Raises:
        ValueError: If no window fits.
    """
    starts = len(tokens) - length
    if starts < 1:
        raise ValueError(f"windows of {length + 1} tokens do not fit into a text of {len(tokens)} tokens")
    start = torch.randint(starts, (batch, 1), generator=generator)
    return tokens[start + torch.arange(length + 1)]
