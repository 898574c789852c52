"""Emoji: 1,586 concepts, each drawn by four artists, many of them by up to eight, and named in 28 languages."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.data.corpora.emoji_split import MORE_VENDORS, VENDORS, Split, family, split_emoji
from course_lib.data.packages.array_cache import array_file, cached_arrays
from course_lib.data.packages.registry import entry

# fmt: off
LOCALES = (
    "bn", "da", "de", "en", "en-gb", "es", "es-mx", "et", "fi", "fr", "hi", "hu", "it", "ja",
    "ko", "lt", "ms", "nb", "nl", "pl", "pt", "ru", "sv", "th", "uk", "vi", "zh", "zh-hant",
)
# fmt: on
# Part of the prepared files' names: to be raised with every change of what `emoji_sources` makes.
_RECIPE = 2


@dataclass(frozen=True)
class Concept:
    """A concept that emoji show: code points ("1F436"), a name and keywords in one language, groups, and family.

    The groups are Emojibase's. Concepts of one family are variants of one drawing; see `emoji_split.family`.
    """

    hexcode: str
    name: str
    keywords: tuple[str, ...]
    group: str  # one of 8: "animals-nature"
    subgroup: str  # "animal-mammal"
    family: str


@dataclass(frozen=True)
class Emoji:
    """Images of every concept by every vendor, on white, from 0 to 255.

    The vendors are in the order of VENDORS, or of VENDORS + MORE_VENDORS; the concepts in that of `concepts`.
    """

    concepts: tuple[Concept, ...]
    images: UInt8[Tensor, "vendors concepts 3 size size"]

    def split(self, stage: str) -> Split:
        """Split the images, by index, into those to train on and those held out; see `split_emoji` for the stages."""
        more = len(self.images) > len(VENDORS)
        return split_emoji([concept.family for concept in self.concepts], stage, more)


def load_emoji(size: int = 32, more: bool = False) -> Emoji:
    """Load all concepts and their images of `size` x `size` pixels, which are drawn once and then read from the cache.

    Only the first call needs the packages of the vendors and resvg-py. The images of OpenMoji and of Emoji One v1 are
    CC BY-SA 4.0, those of Twemoji and Emoji One CC BY 4.0, so figures that show them must carry the credits in
    registry.toml.

    Args:
        size: The width and height of an image.
        more: Whether to load the images of MORE_VENDORS too. These lack 411 to 995 of the 1,586 concepts, each its own.
            In such a place stands OpenMoji's image, which is trained on anyway, so that the array is whole.

    Raises:
        DataError: If a package cannot be fetched, or resvg-py is missing.
        ValueError: If the size is not from 8 to 512.
    """
    if not 8 <= size <= 512:
        raise ValueError(f"pictures of {size} x {size} cannot be drawn; choose a size from 8 to 512")
    images = _images(f"emoji-pictures-{size}", _sources(), size, VENDORS)
    if more:
        images = torch.cat((images, _images(f"emoji-more-pictures-{size}", _more_sources(), size, MORE_VENDORS)))
    return Emoji(concepts(), images)


def emoji_files(size: int = 32, more: bool = False) -> list[Path]:
    """Return the cached files that `load_emoji` reads, to be copied into the cache of another machine."""
    files = [array_file(name, _sources()) for name in ("emoji-names", f"emoji-pictures-{size}")]
    return [*files, array_file(f"emoji-more-pictures-{size}", _more_sources())] if more else files


@functools.cache
def concepts(locale: str = "en") -> tuple[Concept, ...]:
    """Return the concepts with names and keywords in a language of LOCALES; the order is the same in all.

    Raises:
        DataError: If the packages cannot be fetched.
        ValueError: If there are no names in that language.
    """
    if locale not in LOCALES:
        raise ValueError(f"emoji have names in {', '.join(LOCALES)}, not in {locale!r}")
    return tuple(
        Concept(
            hexcode=each["hexcode"],
            name=each["names"][locale],
            keywords=tuple(each["keywords"][locale]),
            group=each["group"],
            subgroup=each["subgroup"],
            family=family(each["names"]["en"], each["subgroup"]),
        )
        for each in _words()
    )


def random_caption(concept: Concept, generator: torch.Generator, name_only: float = 0.7) -> str:
    """Sample a caption to train on: the name, or up to five random keywords, with or without the name before them.

    Args:
        concept: The concept to describe.
        generator: The source of randomness.
        name_only: The probability of the name alone; it is 1 for a concept without keywords.
    """
    alone, with_name = torch.rand(2, generator=generator).tolist()
    count = int(torch.randint(1, 6, (), generator=generator))
    chosen = torch.randperm(len(concept.keywords), generator=generator)[:count].tolist()
    if alone < name_only or not chosen:
        return concept.name
    words = [concept.keywords[i] for i in chosen]
    return ", ".join([concept.name, *words] if with_name < 0.5 else words)


@functools.cache
def _words() -> list[dict[str, Any]]:
    """Return the result of `emoji_sources.read_words`, from the cache."""

    def build() -> dict[str, np.ndarray]:
        from course_lib.data.corpora.emoji_sources import read_words

        text = json.dumps(read_words(LOCALES), ensure_ascii=False)
        return {"json": np.frombuffer(text.encode(), np.uint8)}

    return json.loads(cached_arrays("emoji-names", _sources(), build)["json"].tobytes())


def _images(
    name: str, sources: list[object], size: int, vendors: tuple[str, ...]
) -> UInt8[Tensor, "vendors concepts 3 size size"]:
    """Return the result of `emoji_sources.draw`, from the cache."""

    def build() -> dict[str, np.ndarray]:
        from course_lib.data.corpora.emoji_sources import draw

        return {"pictures": draw([concept.hexcode for concept in concepts()], size, vendors)}

    return torch.from_numpy(cached_arrays(name, sources, build)["pictures"])


def _sources() -> list[object]:
    return [_RECIPE, *(entry(f"emoji-{name}").sha256 for name in (*VENDORS, "words"))]


def _more_sources() -> list[object]:
    return [*_sources(), *(entry(f"emoji-{vendor}").sha256 for vendor in MORE_VENDORS)]
