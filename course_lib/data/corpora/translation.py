"""Short phrases in 28 languages, which a sequence-to-sequence model learns to translate within minutes."""

from __future__ import annotations

from course_lib.data.corpora.emoji import LOCALES
from course_lib.data.loading.split import split_by_hash
from course_lib.data.packages.fetching import fetch
from course_lib.files import read_json

Pair = tuple[str, str]


def translation_pairs(source: str = "en", target: str = "de", test: float = 0.1) -> tuple[list[Pair], list[Pair]]:
    """Return phrases with their translations, as pairs (source, target), for training and for testing: 1,923 in all.

    They are the names of emoji, which Unicode has translated: ("guide dog", "Blindenhund"). A phrase is in the same
    part in all languages, so a model trained on several directions is not tested on what it has seen. No phrase for
    testing occurs in training, as source or as target. Licence Unicode-3.0.

    Args:
        source: A language of LOCALES.
        target: Another language of LOCALES.
        test: The share of the phrases for testing, approximately.

    Raises:
        DataError: If the names cannot be fetched.
        ValueError: If there is no such language, or both are the same.
    """
    for language in (source, target):
        if language not in LOCALES:
            raise ValueError(f"there are phrases in {', '.join(LOCALES)}, not in {language!r}")
    if source == target:
        raise ValueError(f"to translate takes two languages, not {source!r} and {target!r}")
    english, of_source, of_target = _names("en"), _names(source), _names(target)
    train, held_out = split_by_hash(english, by=lambda hexcode: english[hexcode], test=test)
    # A dict keeps one of equal pairs, and the order.
    learned = list(dict.fromkeys((of_source[hexcode], of_target[hexcode]) for hexcode in train))
    unseen = dict.fromkeys((of_source[hexcode], of_target[hexcode]) for hexcode in held_out)
    sources, targets = {pair[0] for pair in learned}, {pair[1] for pair in learned}
    return learned, [pair for pair in unseen if pair[0] not in sources and pair[1] not in targets]


def _names(language: str) -> dict[str, str]:
    """Return the names of emoji by code points, without the letters that spell flags (they have no group)."""
    entries = read_json(fetch("emoji-words") / language / "compact.json")
    return {entry["hexcode"]: entry["label"] for entry in entries if "group" in entry}
