"""Ratings and preferences: the authors' own means, naive loops over people, and the split."""

import collections
import hashlib
import itertools
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data.corpora import ratings
from course_lib.data.corpora.ratings import Preference, Rated
from course_lib.data.loading.split import split_by_hash

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=8).map(tuple)


@pytest.fixture(scope="module")
def everything():
    return ratings.ratings()


def by_text(rated, beginning):
    (found,) = [r for r in rated if r.text.startswith(beginning)]
    return found


def test_counts(everything):
    counts = collections.Counter(rated.source for rated in everything)
    assert counts == {"movies": 10_603, "news": 5_119, "tweets": 4_001, "products": 3_697}
    assert len({(rated.source, rated.text) for rated in everything}) == len(everything)
    assert ratings.ratings("news", "movies") == [
        rated for source in ("news", "movies") for rated in everything if rated.source == source
    ]


def test_rows_are_those_of_the_files(everything):
    """Looked up by hand; the means are those that the authors print beside the texts."""
    rock = by_text(everything, "The Rock is destined")
    assert (rock.source, rock.scores) == ("movies", (3, 2, 2, 2, 0, 4, 3, 1, 2, 2, 4, 3, 3, 1, 2))
    assert rock.mean == pytest.approx(2.26666666667)
    # The files of "products" list the same texts in different orders: only the numbers join them.
    mistake = by_text(everything, "i made the mistake of thinking i could easily manage my mp3 library")
    assert mistake.scores == (-3, -1, -3, -2, -2, -2, -3, -2, -2, -2, -1, 0, -2, -1, -2, -1, -2, -1, -2, -2)
    assert mistake.mean == pytest.approx(-1.8)
    assert (
        len(by_text(everything, "The pork industry already does it.").scores) == 40
    )  # printed twice, by 20 people each
    assert by_text(everything, "We were 17 deep").text.startswith("We were 17 deep last night & the love was so strong")


def test_tweets_whose_scores_are_of_another_wording_are_left_out(everything):
    assert not [rated for rated in everything if rated.text == "Yay. Another good phone interview."]


def test_unknown_source():
    with pytest.raises(ValueError, match="movies, news, tweets, products, not of 'films'"):
        ratings.ratings("movies", "films")


@pytest.mark.parametrize("wrong", [("", (1,)), ("  \n", (1,)), ("a text", ()), ("a text", (1, 5))])
def test_a_text_without_words_or_scores_is_refused(wrong):
    with pytest.raises(ValueError, match="has words, and one score or more from -4 to 4"):
        Rated(wrong[0], "news", wrong[1])


@given(first=scores, second=scores)
def test_a_preference_is_counted_over_people(first, second):
    first, second = Rated("a text", "news", first), Rated("another", "news", second)
    votes = []
    for a, b in itertools.product(first.scores, second.scores):
        votes.append(1.0 if a > b else 0.5 if a == b else 0.0)
    assert ratings.preference(first, second) == pytest.approx(statistics.mean(votes), abs=1e-12)
    assert ratings.preference(first, second) + ratings.preference(second, first) == pytest.approx(1, abs=1e-12)
    assert ratings.preference(first, first) == 0.5


@settings(deadline=None)
@given(n=st.integers(0, 12), seed=st.integers(0, 2**32))
def test_pairs_are_different_and_all_of_them_can_be_had(n, seed):
    rated = [Rated(f"text {i}", "news", (i % 9 - 4, 0)) for i in range(n)]
    possible = n * (n - 1) // 2
    drawn = ratings.preference_pairs(rated, possible, seed)
    assert len({frozenset((p.first.text, p.second.text)) for p in drawn}) == possible
    assert all(p.first is not p.second and p.probability == ratings.preference(p.first, p.second) for p in drawn)
    assert drawn == ratings.preference_pairs(rated, possible, seed)
    with pytest.raises(ValueError, match=f"{n} texts make {possible} pairs, not {possible + 1}"):
        ratings.preference_pairs(rated, possible + 1, seed)


def test_neither_text_of_a_pair_has_an_advantage(everything):
    drawn = ratings.preference_pairs(everything, 4000)
    earlier = {id(rated): i for i, rated in enumerate(everything)}
    share = statistics.mean(earlier[id(p.first)] < earlier[id(p.second)] for p in drawn)
    assert abs(share - 0.5) < 5 * (0.25 / 4000) ** 0.5  # 5 standard errors
    assert drawn != ratings.preference_pairs(everything, 4000, seed=1)


def test_nobody_guesses_better_than_the_agreement():
    a, b, c = (Rated("text", "news", (score,)) for score in (-1, 0, 1))
    three = [Preference(a, b, 0.9), Preference(b, c, 0.2), Preference(a, c, 0.5)]
    guesses = itertools.product([True, False], repeat=3)
    right = [
        sum(p.probability if g else 1 - p.probability for p, g in zip(three, gs, strict=True)) / 3 for gs in guesses
    ]
    assert ratings.agreement(three) == pytest.approx(max(right))
    with pytest.raises(ValueError, match="no preferences"):
        ratings.agreement([])


def test_no_text_is_for_training_and_for_testing(everything):
    train, test = split_by_hash(everything, by=lambda rated: rated.text)
    assert not {rated.text for rated in train} & {rated.text for rated in test}
    assert abs(len(test) - 0.2 * len(everything)) < 5 * (0.16 * len(everything)) ** 0.5
    # The side depends on the text alone.
    known = {rated.text for rated in test}
    some = everything[::-3]
    assert split_by_hash(some, by=lambda rated: rated.text)[1] == [rated for rated in some if rated.text in known]


@given(items=st.lists(st.text(), unique=True, max_size=20), test=st.floats(0.0, 1.0))
def test_a_split_loses_nothing(items, test):
    train, held_out = split_by_hash(items, by=str, test=test)
    assert sorted(train + held_out) == sorted(items)
    assert set(held_out) <= set(split_by_hash(items, by=str, test=1.0)[1]) == set(items)
    assert split_by_hash(items, by=str, test=0.0)[1] == []
    assert set(split_by_hash(items, by=str, test=test / 2)[1]) <= set(held_out)


def test_the_side_is_given_by_the_key_alone_for_ever():
    """The first twelve hexadecimal digits of the key's SHA-256, as a fraction, are below the share for testing."""
    items = [(number, key) for number in range(3) for key in "abcdefghij"]
    below = {key for key in "abcdefghij" if hashlib.sha256(key.encode()).hexdigest()[:12] < "8" + "0" * 11}
    assert 0 < len(below) < 10
    assert split_by_hash(items, by=lambda item: item[1], test=0.5)[1] == [item for item in items if item[1] in below]


def test_a_share_of_the_split_is_a_share():
    with pytest.raises(ValueError, match="between 0 and 1, not 20"):
        split_by_hash([], by=str, test=20.0)
