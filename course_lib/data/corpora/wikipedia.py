"""Text to train on: Wikipedia's opening paragraphs, one corpus string, and random windows of it."""

from __future__ import annotations

import ast
import json
import random
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.packages.fetching import fetch
from course_lib.errors import DataError

_LANGUAGES = {"en": "en-us", "fr": "fr-fr", "es": "es-es"}


@dataclass(frozen=True)
class Article:
    """The opening of one article: its title, first paragraph, description of a few words, and topic (one of 12)."""

    title: str
    extract: str
    description: str
    topic: str


def wikipedia_leads(language: str = "en") -> list[Article]:
    """The openings of 10,033 English (or 9,955 French "fr", 6,239 Spanish "es") Wikipedia articles, ordered by topic.

    Licence CC BY-SA 4.0.

    Raises:
        DataError: They cannot be fetched.
        ValueError: There are none in that language.
    """
    if language not in _LANGUAGES:
        raise ValueError(f"there are Wikipedia leads in {', '.join(_LANGUAGES)}, not in {language!r}")
    file = fetch("wikipedia-leads") / f"summaries_{_LANGUAGES[language]}.json"
    return [Article(**fields) for fields in json.loads(file.read_text(encoding="utf-8")).values()]


def corpus() -> str:
    """About 4.9 million characters of clean English: the Wikipedia leads in one fixed shuffled order.

    Articles are separated by an empty line; being shuffled, any part of the text has the same mix of topics as the
    rest, so a held-out end is a fair test. If Wikipedia cannot be fetched, one printed sentence says so and the King
    James Bible (4.1 million characters) takes its place.

    Raises:
        DataError: Neither can be fetched.
    """
    try:
        articles = wikipedia_leads()
    except DataError as error:
        text = king_james()
        print(f"Using the King James Bible in place of Wikipedia, so numbers will differ from the book: {error}.")
        return text
    random.Random(0).shuffle(articles)
    return "\n\n".join(article.extract for article in articles)


def king_james() -> str:
    """The King James Bible, 4.1 million characters in 4,635 paragraphs, one a line.

    The package's source file holds it in one string, which is read; nothing is run.

    Raises:
        DataError: It cannot be fetched.
    """
    tree = ast.parse((fetch("king-james-bible") / "plain_text_readers_bible.py").read_text(encoding="utf-8"))
    strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    # Square brackets mark words that the translators added.
    return max(strings, key=len).strip().replace("[", "").replace("]", "")


def windows(
    tokens: Int[Tensor, " tokens"], length: int, batch: int, generator: torch.Generator
) -> Int[Tensor, "{batch} {length}+1"]:
    """Random windows of a token sequence, one longer than the model's context: inputs [:, :-1], targets [:, 1:].

    Every window that fits is equally likely.

    Raises:
        ValueError: No window fits.
    """
    starts = len(tokens) - length
    if starts < 1:
        raise ValueError(f"windows of {length + 1} tokens do not fit into a text of {len(tokens)} tokens")
    start = torch.randint(starts, (batch, 1), generator=generator)
    return tokens[start + torch.arange(length + 1)]
