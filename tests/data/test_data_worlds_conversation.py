"""The world of conversations: each fact is told once, where it should be, and one kind never."""

import random
import re

import pytest

from course_lib.data.worlds.conversation import FACTS, SMALL_TALK, Conversation, as_chat, as_question


@pytest.mark.parametrize("seed", range(20))
def test_facts_are_told_where_they_should_be_and_one_kind_never(seed):
    talk = Conversation.sample(10, (0, 3, 6, 9), random.Random(seed))
    assert len(talk.turns) == 10
    assert [asked.turn for asked in talk.asked] == [0, 3, 6, 9, None]
    for asked in talk.asked:
        where = [turn for turn, (user, _) in enumerate(talk.turns) if user == asked.fact.told.format(asked.value)]
        assert where == ([] if asked.turn is None else [asked.turn])


def test_a_guess_is_right_in_one_case_of_eight():
    assert all(len(set(fact.values)) == 8 for fact in FACTS)


def test_other_words_share_nothing_but_common_words_with_the_fact():
    common = {"is", "my", "the", "i", "does"}
    for fact in FACTS:
        told, other = (set(re.findall("[a-z]+", text.lower())) for text in (fact.told, fact.other_words))
        assert not (told & other) - common, fact


def test_too_many_facts_are_refused():
    with pytest.raises(ValueError, match="at most 4 facts"):
        Conversation.sample(10, (0, 1, 2, 3, 4), random.Random(0))
    with pytest.raises(ValueError, match="turns of small talk"):
        Conversation.sample(len(SMALL_TALK) + 2, (0,), random.Random(0))


def test_the_chat_format():
    assert as_chat([("Hi.", "Hello.")]) == (
        "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    )
    assert as_question("Who?", "It is") == "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nIt is"
