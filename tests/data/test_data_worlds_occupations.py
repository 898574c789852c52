"""Sentences about people at work: the shares that were asked for, and nothing that gives a gender away elsewhere."""

import pytest
import torch

from course_lib.data.worlds.occupations import (
    FEMALE,
    GENTLE,
    HE,
    LONGEST,
    MALE,
    OCCUPATIONS,
    SHE,
    STRONG,
    Occupations,
)

SHARES = [number / (len(OCCUPATIONS) - 1) for number in range(len(OCCUPATIONS))]
WORLD = Occupations(SHARES, SHARES[::-1])


def draw(n=40_000, seed=0):
    return WORLD.sample(n, torch.Generator().manual_seed(seed))


def test_shares_are_those_asked_for():
    he, strong = ({word: [] for word in OCCUPATIONS} for _ in range(2))
    for words in draw():
        person = next(word for word in words if word in (*OCCUPATIONS, *MALE, *FEMALE))
        if person in OCCUPATIONS:
            if "is" in words:
                strong[person].append(any(word in STRONG for word in words))
            else:
                he[person].append(any(word in HE for word in words))
    for seen, wanted in ((he, SHARES), (strong, SHARES[::-1])):
        for word, share in zip(OCCUPATIONS, wanted, strict=True):
            n = len(seen[word])
            assert n > 200
            error = (share * (1 - share) / n) ** 0.5
            assert abs(sum(seen[word]) / n - share) <= 5 * error  # exactly at 0 and 1


def test_kin_have_their_own_gender_and_either_trait():
    of_kin = [words for words in draw() if set(words) & {*MALE, *FEMALE}]
    assert 0.31 < len(of_kin) / 40_000 < 0.36
    traits = []
    for words in of_kin:
        male = bool(set(words) & set(MALE))
        assert not set(words) & set(SHE if male else HE)
        if "is" in words:
            traits.append(bool(set(words) & set(STRONG)))
    assert abs(sum(traits) / len(traits) - 0.5) < 5 * (0.25 / len(traits)) ** 0.5


def test_every_word_is_used_and_has_a_number():
    sentences = draw()
    assert {word for words in sentences for word in words} == set(WORLD.vocabulary)
    assert len(set(WORLD.vocabulary)) == len(WORLD.vocabulary)
    assert max(map(len, sentences)) == LONGEST
    ids = WORLD.encode(sentences[:50])
    assert ids.shape == (50, LONGEST)
    for row, words in zip(ids.tolist(), sentences[:50], strict=True):
        read = [WORLD.vocabulary[number] for number in row]
        assert read == words + ["."] * (LONGEST - len(words))


def test_the_numbers_of_words_are_their_places():
    assert [WORLD.vocabulary[number] for number in WORLD.numbers(["queen", "he", "."])] == ["queen", "he", "."]
    with pytest.raises(KeyError):
        WORLD.numbers(["astronaut"])


def test_log_odds_are_counted_after_their_start():
    sentences = [f"the baker said that {word} would sing .".split() for word in ("he", "he", "she")]
    sentences += [f"the {person} took his bag home .".split() for person in OCCUPATIONS]
    odds = WORLD.log_odds(sentences, "the {} said that", ["he"], ["she"]).exp().tolist()
    assert odds == pytest.approx([2.5 / 1.5] + [1] * (len(OCCUPATIONS) - 1))
    odds = WORLD.log_odds(draw(), "the {} is very", STRONG, GENTLE)
    truth = torch.tensor(SHARES[::-1])[1:-1].logit()
    assert (odds[1:-1] - truth).abs().max() < 0.6


def test_the_same_seed_gives_the_same_sentences():
    assert draw(50) == draw(50)
    assert draw(50) != draw(50, seed=1)
    assert not set(STRONG) & set(GENTLE)


@pytest.mark.parametrize("shares", [SHARES[:3], [1.5] * len(OCCUPATIONS)])
def test_impossible_shares(shares):
    with pytest.raises(ValueError, match="a probability from 0 to 1 for each of the 16 occupations"):
        Occupations(shares, SHARES)
    with pytest.raises(ValueError, match="a probability from 0 to 1 for each of the 16 occupations"):
        Occupations(SHARES, shares)
