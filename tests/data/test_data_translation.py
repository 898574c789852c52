"""Translations: counts, pairs that were looked up, and no phrase on both sides, in any direction."""

import itertools

import pytest

from course_lib.data.corpora import translation
from course_lib.data.corpora.emoji import LOCALES
from course_lib.data.corpora.translation import translation_pairs

LOOKED_UP = {
    ("en", "de"): [("guide dog", "Blindenhund"), ("broken chain", "gebrochene Kette"), ("flag: Iraq", "Flagge: Irak")],
    ("de", "ja"): [("Blindenhund", "盲導犬"), ("Socken", "ソックス")],
    ("ja", "en"): [("止まれの標識", "stop sign")],
}


@pytest.mark.parametrize(("source", "target"), LOOKED_UP)
def test_pairs_that_were_looked_up(source, target):
    train, test = translation_pairs(source, target)
    assert len(train) + len(test) == 1_923
    assert set(LOOKED_UP[source, target]) <= set(train) | set(test)
    assert (train, test) == translation_pairs(source, target)
    assert not [pair for pair in train + test if "regional" in pair[0]]


def test_every_language_has_every_phrase_once():
    for language in LOCALES:
        if language != "en":
            train, test = translation_pairs("en", language)
            # A French name that two emoji share makes one more pair than phrases.
            assert len({pair[0] for pair in train + test}) == len(train) + len(test) == 1_923
            assert all(text.strip() for pair in train + test for text in pair)


def test_no_phrase_is_on_both_sides_in_any_direction():
    english = {
        side: {pair[0] for pair in part}
        for side, part in zip(("train", "test"), translation_pairs("en", "de"), strict=True)
    }
    assert abs(len(english["test"]) - 192.3) < 5 * (1_923 * 0.09) ** 0.5  # 5 standard errors of a count
    for source, target in itertools.permutations(("en", "fr", "nl", "ja"), 2):
        train, test = translation_pairs(source, target)
        for at in (0, 1):
            assert not {pair[at] for pair in train} & {pair[at] for pair in test}
        if source == "en":
            assert {pair[0] for pair in train} == english["train"]
            assert {pair[0] for pair in test} <= english["test"]


def test_what_two_phrases_are_both_called_is_never_on_both_sides(monkeypatch):
    """As French calls the paper clip and the instrument "trombone"; here three names are all there are."""
    train, test = translation_pairs("fr", "en")
    assert {("trombone", "trombone"), ("trombone", "paperclip")} <= {*train, *test}
    names = {"en": {str(i): f"thing {i}" for i in range(60)}, "fr": {str(i): f"chose {i % 3}" for i in range(60)}}
    monkeypatch.setattr(translation, "_names", names.get)
    for source, target in (("en", "fr"), ("fr", "en")):
        train, test = translation_pairs(source, target, 0.2)
        assert 30 < len(train) < 60
        assert {pair[source == "en"] for pair in train} == {"chose 0", "chose 1", "chose 2"}
        assert test == []


def test_bad_languages():
    with pytest.raises(ValueError, match=r"bn, da, de, .*, not in 'xx'"):
        translation_pairs("en", "xx")
    with pytest.raises(ValueError, match="takes two languages, not 'de' and 'de'"):
        translation_pairs("de", "de")
