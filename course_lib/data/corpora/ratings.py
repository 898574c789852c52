"""Short texts rated by about twenty people each, and the preferences that follow from the ratings.

What is judged is the tone of a text, from -4 (extremely negative) to 4 (extremely positive). A preference made from it
is for the more positive text, not for the more helpful one. The texts are by users of Twitter, Rotten Tomatoes and
Amazon and by the New York Times: show few of them, pass none on, and expect some rude ones.

Source: Hutto and Gilbert 2014, "VADER", sections 3 and 4.
"""

from __future__ import annotations

import html
import io
import json
import math
import random
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.data.packages.fetching import fetch

SOURCES = {
    "movies": "movieReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweets": "tweets",
    "products": "amazonReviewSnippets",
}


@dataclass(frozen=True)
class Rated:
    """A text, its source (a key of SOURCES), and the score that each person gave it, from -4 to 4.

    Raises:
        ValueError: If the text is empty, there are no scores, or one is out of range.
    """

    text: str
    source: str
    scores: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.text.strip() or not self.scores or not all(-4 <= score <= 4 for score in self.scores):
            raise ValueError(f"a rated text has words, and one score or more from -4 to 4; this one does not: {self}")

    @property
    def mean(self) -> float:
        """The mean score, from -4 to 4."""
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True)
class Preference:
    """A pair of texts, and the exact probability that a person finds the first more positive than the second."""

    first: Rated
    second: Rated
    probability: float


def ratings(*sources: str) -> list[Rated]:
    """Load the rated texts of these sources, or of all four if none is given.

    There are 10,603 from "movies", 5,119 from "news", 4,001 "tweets" and 3,697 from "products". A text that occurs
    twice in a source becomes one, with the scores of both. 199 tweets are left out because the mean of their scores is
    not the one that the authors give: the scores are of another wording.

    Raises:
        DataError: If the texts cannot be fetched.
        ValueError: If there is no such source.
    """
    for source in sources:
        if source not in SOURCES:
            raise ValueError(f"there are ratings of {', '.join(SOURCES)}, not of {source!r}")
    with tarfile.open(fetch("vader-ratings") / "hutto_ICWSM_2014.tar.gz") as archive:
        return [rated for source in sources or SOURCES for rated in _read(archive, source)]


def _read(archive: tarfile.TarFile, source: str) -> Iterable[Rated]:
    scores = {
        number: json.loads(of_all) for number, _, _, of_all in _rows(archive, f"{SOURCES[source]}_anonDataRatings")
    }
    merged: dict[str, list[int]] = {}
    for number, mean, text in _rows(archive, f"{SOURCES[source]}_GroundTruth"):
        if math.isclose(float(mean), sum(scores[number]) / len(scores[number]), abs_tol=1e-6):  # printed to 1e-9
            merged.setdefault(html.unescape(text), []).extend(scores[number])
    return (Rated(text, source, tuple(of_all)) for text, of_all in merged.items())


def _rows(archive: tarfile.TarFile, name: str) -> list[list[str]]:
    file = archive.extractfile(f"hutto_ICWSM_2014/{name}.txt")
    assert file is not None  # None is for folders
    return [line.rstrip("\n").split("\t") for line in io.TextIOWrapper(file, encoding="utf-8-sig")]


def preference(first: Rated, second: Rated) -> float:
    """Compute the probability that a person scores the first text higher than another person the second; a tie is half.

    It is exact for the people who were asked: the mean over all pairs of a score of the first and a score of the
    second. This is the U statistic of Mann and Whitney (1947) divided by its largest value.
    """
    difference = np.array(first.scores)[:, None] - np.array(second.scores)
    return float(1 + np.sign(difference).mean()) / 2


def preference_pairs(rated: Sequence[Rated], n: int, seed: int = 0) -> list[Preference]:
    """Sample `n` different pairs of texts, each in random order, with their preferences.

    Raises:
        ValueError: If there are fewer than `n` pairs.
    """
    there_are = math.comb(len(rated), 2)
    if n > there_are:
        raise ValueError(f"{len(rated)} texts make {there_are} pairs, not {n}; ask for fewer, or give more texts")
    rng, drawn = random.Random(seed), []
    for number in rng.sample(range(there_are), n):
        # Pairs i < j in the order 01, 02, 12, 03, ...: before those of j come j (j - 1) / 2 others.
        j = (1 + math.isqrt(1 + 8 * number)) // 2
        i = number - math.comb(j, 2)
        first, second = (rated[i], rated[j]) if rng.random() < 0.5 else (rated[j], rated[i])
        drawn.append(Preference(first, second, preference(first, second)))
    return drawn


def agreement(preferences: Sequence[Preference]) -> float:
    """Compute the best expected accuracy in predicting what one person prefers: the ceiling of every reward model.

    A person prefers the first text with the pair's probability p. The best guess is the likelier text, which is right
    with probability max(p, 1 - p).

    Raises:
        ValueError: If there are no preferences.
    """
    if not preferences:
        raise ValueError("there are no preferences, so there is no agreement to measure")
    return sum(max(p.probability, 1 - p.probability) for p in preferences) / len(preferences)
