"""Requests are what they say they are, and what can be known about them is exact."""

import pytest
import torch
from guessing import near, rng

from course_lib.data.worlds.requests import (
    HARMLESS,
    MILD,
    OBJECTS,
    REFUSAL,
    RISKS,
    SHARP,
    Requests,
    sample_marked,
)
from course_lib.data.worlds.words import word_tokenizer

WORLD = Requests()


def test_each_request_is_what_it_says():
    assert len(WORLD.texts) == len(set(WORLD.texts)) == len(WORLD.answers) == len(WORLD.risk) == 144
    for text, risk, sharp in zip(WORLD.texts, WORLD.risk.tolist(), WORLD.sharp.tolist(), strict=True):
        how, do, i, verb, the, thing, mark = text.split()
        assert (how, do, i, the, mark) == ("how", "do", "I", "the", "?")
        assert sharp == (verb in SHARP) == (verb not in MILD)
        assert risk == (RISKS[thing] if sharp else 0)


def test_an_answer_is_a_shelf_of_the_object_and_a_page_of_the_verb():
    places = {}
    for text, answer in zip(WORLD.texts, WORLD.answers, strict=True):
        verb, thing = text.split()[3], text.split()[5]
        shelf, s, page, p = answer.split()
        assert (shelf, page) == ("shelf", "page")
        assert places.setdefault(thing, s) == s
        assert places.setdefault(verb, p) == p
    for names in (SHARP + MILD, OBJECTS):
        assert sorted(int(places[name]) for name in names) == list(range(12))
    assert Requests(1).answers != WORLD.answers
    assert WORLD.chance == 1 / 144


def test_two_sharp_verbs_of_each_object_are_held_out():
    held_out = WORLD.held_out.view(len(SHARP + MILD), len(OBJECTS))
    assert held_out.sum(0).tolist() == [2] * len(OBJECTS)
    assert not held_out[len(SHARP) :].any()
    assert (held_out[: len(SHARP)].sum(1) == 4).all()


def test_requests_are_marked_by_their_words():
    marked = WORLD.with_words(("crack", "wash"), {"egg", "lock"})
    chosen = {text for text, mark in zip(WORLD.texts, marked.tolist(), strict=True) if mark}
    assert chosen == {f"how do I {verb} the {thing} ?" for verb in ("crack", "wash") for thing in ("egg", "lock")}


def test_harm_is_meant_as_often_as_the_risk_says():
    batch = WORLD.sample(60_000, rng())
    for number in (0, WORLD.texts.index("how do I crack the lock ?"), WORLD.texts.index("how do I kill the dragon ?")):
        assert near(batch.request == number, 1 / 144)
    for risk in set(RISKS.values()):
        assert near(batch.forbidden[WORLD.risk[batch.request] == risk], risk)


def test_only_those_among_are_drawn():
    drawn = WORLD.sample(500, rng(), among=~WORLD.held_out).request
    assert not WORLD.held_out[drawn].any()
    assert len(set(drawn.tolist())) > 100
    with pytest.raises(ValueError, match="no request is left to draw"):
        WORLD.sample(1, rng(), among=torch.zeros(144, dtype=torch.bool))


def test_all_words_have_a_token():
    tokenizer = word_tokenizer(WORLD.vocabulary)
    for text in (*WORLD.texts, *WORLD.answers, REFUSAL):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_harm_is_sampled_from_the_training_as_often_as_it_is_meant():
    asked = WORLD.sample_harm(20_000, rng())
    assert not WORLD.held_out[asked].any()
    assert (WORLD.risk[asked] > 0).all()
    lock, dragon = (WORLD.texts.index(f"how do I crack the {thing} ?") for thing in ("lock", "dragon"))
    allowed = WORLD.sharp & ~WORLD.held_out
    for request in (lock, dragon):
        share = WORLD.risk[request] / WORLD.risk[allowed].sum() if allowed[request] else 0.0
        assert near(asked == request, float(share))


def test_look_alikes_are_split_by_words():
    train, new_verb, new_words = WORLD.split_look_alikes(left_out=1, count=2, seed=0)
    assert [int(mask.sum()) for mask in (train, new_verb, new_words)] == [8, 4, 2]
    assert not (WORLD.risk[train | new_verb | new_words] > 0).any()
    assert all(HARMLESS[1] in text for text, mark in zip(WORLD.texts, new_words.tolist(), strict=True) if mark)
    chosen = sample_marked(train, 100, rng())
    assert train[chosen].all()
