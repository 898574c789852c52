"""What the labs on rewards and refusals leave to the library: matched examples, PPO, GRPO and DPO."""

import torch

from course_lib.data.worlds.waiter import Waiter
from course_lib.tune.completions import completion_examples
from course_lib.tune.requests import concatenate, exact_match
from course_lib.tune.waiter import from_colleagues, train_ppo_grpo_dpo


def test_examples_are_concatenated_in_order_and_match_by_completion():
    one, two = completion_examples([[1]], [[2, 3]]), completion_examples([[1, 1], [4]], [[5], [2, 3]])
    texts = concatenate(one, two).all()
    assert texts.completions() == [[2, 3], [5], [2, 3]]
    assert exact_match(texts, [[2, 3], [2, 3], [2, 3]]).tolist() == [1, 0, 1]


def test_ppo_grpo_and_dpo_train_three_copies_of_the_waiter():
    world = Waiter()
    start = from_colleagues(world, 0)
    before = [p.clone() for p in start.parameters()]
    rates = dict.fromkeys(("PPO", "GRPO", "DPO"), 1e-3)
    ends = train_ppo_grpo_dpo(world, start, 0.5, rates, replies=64, rollout=32)
    assert list(ends) == ["PPO", "GRPO", "DPO"]
    for policy in ends.values():
        assert any(not torch.equal(a, b) for a, b in zip(policy.parameters(), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), before, strict=True))
