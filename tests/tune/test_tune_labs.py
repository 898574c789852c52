"""What labs on rewards and refusals leave to the library: looks on the way, matched examples, PPO, GRPO and DPO."""

import torch
from torch import nn

from course_lib.data.worlds.waiter import Waiter
from course_lib.train import TrainConfig
from course_lib.tune.completions import completion_examples
from course_lib.tune.requests import concatenate, exact_match
from course_lib.tune.snapshots import train_and_look
from course_lib.tune.waiter import from_colleagues, train_ppo_grpo_dpo


def test_looks_are_at_equal_distances_from_before_the_first_step_to_the_end():
    model = nn.Linear(1, 1)

    def loss(model, batch):
        return (model(batch) - 3).square().mean()

    seen = train_and_look(
        model, lambda generator: torch.ones(1, 1), loss, TrainConfig(20, lr=0.1), lambda: model.bias.item(), 5
    )
    assert len(seen) == 6
    assert seen == sorted(seen)
    assert seen[-1] == model.bias.item()


def test_examples_are_concatenated_in_order_and_match_by_completion():
    one, two = completion_examples([[1]], [[2, 3]]), completion_examples([[1, 1], [4]], [[5], [2, 3]])
    texts = concatenate(one, two).all()
    assert texts.completions() == [[2, 3], [5], [2, 3]]
    assert exact_match(texts, [[2, 3], [2, 3], [2, 3]]).tolist() == [1, 0, 1]


def test_ppo_grpo_and_dpo_train_three_copies_of_the_waiter():
    world = Waiter()
    start = from_colleagues(world, 0)
    before = [p.clone() for p in start.parameters()]
    ends = train_ppo_grpo_dpo(world, start, 0.5, replies=64, rollout=32)
    assert list(ends) == ["PPO", "GRPO", "DPO"]
    for policy in ends.values():
        assert any(not torch.equal(a, b) for a, b in zip(policy.parameters(), before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), before, strict=True))
