"""Emoji: 1,586 concepts, each drawn by four artists and named in 28 languages."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.corpora.emoji_split import VENDORS, Split, family, split
from course_lib.data.packages.array_cache import array_file, cached_arrays
from course_lib.data.packages.registry import entry

# fmt: off
LOCALES = (
    "bn", "da", "de", "en", "en-gb", "es", "es-mx", "et", "fi", "fr", "hi", "hu", "it", "ja",
    "ko", "lt", "ms", "nb", "nl", "pl", "pt", "ru", "sv", "th", "uk", "vi", "zh", "zh-hant",
)
# fmt: on
# Part of the prepared files' names: to be raised with every change of what `emoji_sources` makes.
_RECIPE = 1


@dataclass(frozen=True)
class Concept:
    """What an emoji shows: code points ("1F436"), a name and keywords in one language, Emojibase's groups, and family.

    Concepts of one family are variants of one drawing; see `emoji_split.family`.
    """

    hexcode: str
    name: str
    keywords: tuple[str, ...]
    group: str  # one of 8: "animals-nature"
    subgroup: str  # "animal-mammal"
    family: str


@dataclass(frozen=True)
class Emoji:
    """Every concept drawn by every vendor, in the order of VENDORS and of `concepts`, on white, from 0 to 255."""

    concepts: tuple[Concept, ...]
    pictures: UInt8[Tensor, "vendors concepts 3 size size"]

    def split(self, stage: str, test_vendor: str = "fluent", validation_vendor: str = "noto") -> Split:
        """What may be learned from and what is kept apart, as indices: see `emoji_split.split`."""
        return split([concept.family for concept in self.concepts], stage, test_vendor, validation_vendor)


def load(size: int = 32) -> Emoji:
    """All concepts and their pictures of `size` x `size`: drawn once, then read from the cache.

    Only the first call needs the packages of the four vendors and resvg-py. OpenMoji's pictures are CC BY-SA 4.0,
    Twemoji's CC BY 4.0, so figures that show them carry the credits of registry.toml.
    Raises DataError when a package cannot be fetched or resvg-py is missing, ValueError for a size out of 8 .. 512.
    """
    if not 8 <= size <= 512:
        raise ValueError(f"pictures of {size} x {size} cannot be drawn; choose a size from 8 to 512")
    hexcodes = _words()["hexcode"]

    def build() -> dict[str, np.ndarray]:
        from course_lib.data.corpora.emoji_sources import draw

        return {"pictures": draw(VENDORS, hexcodes, size)}

    arrays = cached_arrays(f"emoji-pictures-{size}", _sources(), build)
    return Emoji(concepts(), torch.from_numpy(arrays["pictures"]))


def files(size: int = 32) -> list[Path]:
    """The two files that `load` reads once they are made: what to copy into the cache of another machine."""
    return [array_file(name, _sources()) for name in ("emoji-names", f"emoji-pictures-{size}")]


@functools.cache
def concepts(locale: str = "en") -> tuple[Concept, ...]:
    """The concepts with names and keywords in a language of LOCALES; the order is the same in all.

    Raises ValueError for another language, DataError when the packages cannot be fetched.
    """
    if locale not in LOCALES:
        raise ValueError(f"emoji have names in {', '.join(LOCALES)}, not in {locale!r}")
    words = _words()
    return tuple(
        Concept(hexcode, name, tuple(keywords), group, subgroup, family(english, subgroup))
        for hexcode, name, keywords, group, subgroup, english in zip(
            words["hexcode"],
            words["names"][locale],
            words["keywords"][locale],
            words["group"],
            words["subgroup"],
            words["names"]["en"],
            strict=True,
        )
    )


def captions(locale: str = "en") -> list[str]:
    """The names of all concepts in a language of LOCALES. Raises as `concepts` does."""
    return [concept.name for concept in concepts(locale)]


def random_caption(concept: Concept, generator: torch.Generator, name_only: float = 0.7) -> str:
    """A caption to train on: the name, or up to five random keywords, with or without the name before them.

    The name alone has the probability `name_only`, and so has every concept that has no keywords.
    """
    alone, with_name = torch.rand(2, generator=generator).tolist()
    count = int(torch.randint(1, 6, (), generator=generator))
    chosen = torch.randperm(len(concept.keywords), generator=generator)[:count].tolist()
    if alone < name_only or not chosen:
        return concept.name
    words = [concept.keywords[i] for i in chosen]
    return ", ".join([concept.name, *words] if with_name < 0.5 else words)


@functools.cache
def _words() -> dict:
    def build() -> dict[str, np.ndarray]:
        from course_lib.data.corpora.emoji_sources import read_words

        text = json.dumps(read_words(VENDORS, LOCALES), ensure_ascii=False)
        return {"json": np.frombuffer(text.encode(), np.uint8)}

    return json.loads(cached_arrays("emoji-names", _sources(), build)["json"].tobytes())


def _sources() -> Sequence[object]:
    return [_RECIPE, *(entry(f"emoji-{name}").sha256 for name in (*VENDORS, "words"))]
