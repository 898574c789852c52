"""The waiter: rewards against the rules in words, and how often colleagues are right."""

import pytest
import torch

from course_lib.data.worlds.waiter import Waiter
from course_lib.tune.completions import completion_examples

WORLD = Waiter()
SAID = [
    "here fish enjoy !",
    "fish",
    "fish fish",
    "cake",
    "fish cake !",
    "! ! ! !",
    "fish ! ! ! !",
    "",
    "enjoy ! here !",
]
GOLD = [3, 2, 2, 0, 1, -2, 0, 0, 0]
JUDGED = [3, 2, 2, 0, 1, 4, 6, 0, 2]


def test_rewards_are_the_rules():
    replies = [[WORLD.words.index(word) for word in said.split()] for said in SAID]
    texts = completion_examples([[WORLD.words.index("fish")]] * len(SAID), replies, WORLD.end).all()
    assert WORLD.gold_reward(*texts).tolist() == GOLD
    assert WORLD.proxy_reward(*texts).tolist() == JUDGED
    assert [WORLD.text([*reply, WORLD.end]) for reply in replies[:2]] == SAID[:2]
    assert WORLD.text([WORLD.end]) == "(nothing)"


def test_colleagues_bring_the_right_dish_half_of_the_time():
    orders, replies = WORLD.sample(4000, torch.Generator().manual_seed(0))
    texts = completion_examples(orders, replies, WORLD.end).all()
    assert abs(WORLD.served(*texts).float().mean() - 0.5) < 5 * (0.25 / 4000) ** 0.5
    assert max(map(len, replies)) <= WORLD.longest
    bangs = torch.tensor([reply.count(WORLD.words.index("!")) for reply in replies])
    assert abs((bangs == 1).float().mean() - 0.4) < 5 * (0.24 / 4000) ** 0.5
    assert (bangs <= 2).all()


def test_a_sentence_needs_room():
    with pytest.raises(ValueError, match="longest=4 must be a whole number, at least 5"):
        Waiter(longest=4)
