"""The page of the room: its programs in plain PyTorch run as they stand, and compute what the course's methods do."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from test_lora import U
from torch.testing import assert_close

from course_lib.tune.completions import TokenBatch
from course_lib.tune.dpo import dpo_loss, with_ref_logprobs
from course_lib.tune.grpo import group_advantages, grpo_loss
from course_lib.tune.reward import preference_examples
from course_lib.tune.rollout import Experience

PAGE = Path(__file__).parents[2] / "book" / "library" / "tune.md"
EXACT = {"rtol": 1e-9, "atol": 1e-12}  # float64, some hundreds of operations


def programs(heading):
    """The code blocks of a section."""
    (section,) = (part for part in PAGE.read_text(encoding="utf8").split("\n## ") if part.startswith(heading))
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def run(*programs):
    names = {}
    for program in programs:
        exec(program, names)
    return names


def shake(model):
    """Make a model precise, and its probabilities far from alike."""
    model.double()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)


def same_with_gradient(bare_loss, loss, model):
    assert_close(bare_loss, loss, **EXACT)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients)
    for bare, ours in zip(torch.autograd.grad(bare_loss, parameters), gradients, strict=True):
        assert_close(bare, ours, **EXACT)


def test_no_line_of_code_is_too_long_for_the_page():
    code = [line for heading in ("DPO", "GRPO", "LoRA") for block in programs(heading) for line in block.splitlines()]
    assert max(len(line) for line in code) <= 88


def test_dpo():
    names = run(*programs("DPO, bare"))
    # Twelve log-probabilities at most are summed, times beta = 0.1. Each comes from logits of a few units after some
    # hundred roundings of 6e-8 that mostly cancel: 1e-6.
    assert_close(names["bare_loss"], names["loss"], rtol=0, atol=2e-6)
    assert names["losses"][0] == pytest.approx(math.log(2), abs=1e-6)
    assert names["losses"][-1] < names["losses"][0] - 0.2
    policy, reference = names["policy"], names["reference"]
    for model in (policy, reference):
        shake(model)
    pairs = preference_examples(names["prompts"], names["chosen"], names["rejected"])
    batch = with_ref_logprobs(pairs, reference)[torch.arange(3)]
    for beta in (0.1, 0.5):
        same_with_gradient(names["bare_dpo_loss"](policy, beta), dpo_loss(policy, batch, beta).mean, policy)


def test_grpo_learns_and_so_does_the_course_s():
    names = run(*programs("GRPO, bare"))
    # A log-probability has an error of about 1e-6, as above; its ratio is multiplied by an advantage below 7^0.5.
    assert_close(names["bare_loss"], names["loss"], rtol=0, atol=1e-5)
    for rewards in (names["mean_rewards"], names["history"].metrics["reward"]):
        assert len(rewards) in (40, 80)
        assert sum(rewards[:4]) / 4 < 1.2  # one digit in ten is right by chance, of at most five
        assert sum(rewards[-4:]) / 4 > 2.5


def test_the_first_step_of_grpo():
    """Of completions of the random policy, many end early; and with weights moved at random, much is clipped."""
    bare, *_ = programs("GRPO, bare")
    once = bare.replace("range(40)", "range(1)")
    assert once != bare
    names = run(once)
    ids, mask, policy = names["ids"], names["mask"], names["policy"]
    points = []
    for row, kept in zip(ids.tolist(), mask.tolist(), strict=True):
        digits = row[: row.index(10)] if 10 in row else row
        assert kept == [i < len(digits) for i in range(5)]  # the END too, as the prompt is one of the digits
        points.append(sum(after == (before + 1) % 10 for before, after in pairwise(digits)))
    assert 10 < (~mask).any(dim=1).sum() < 70
    assert names["rewards"].flatten().tolist() == points

    for model in (policy, names["reference"]):
        shake(model)
    with torch.no_grad():
        old, ref = (names["token_logprobs"](model, ids) for model in (policy, names["reference"]))
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    rewards = torch.randint(6, (10, 8)).double()
    rewards[3] = 2.0  # all equal
    advantages = group_advantages(rewards.flatten(), 8)[:, None] * mask
    texts = TokenBatch(ids, torch.nn.functional.pad(mask, (1, 0)))
    batch = Experience(*texts, rewards=rewards.flatten(), old_logprobs=old, ref_logprobs=ref, advantages=advantages)
    loss = grpo_loss(policy, batch)
    assert loss.metrics["clip_fraction"] > 0.1
    same_with_gradient(names["bare_grpo_loss"](policy, ids, mask, rewards, old, ref), loss.mean, policy)


def test_lora():
    names = run(*programs("LoRA, bare"))
    bare, lora, x = names["bare"], names["lora"], names["x"]
    assert_close(bare.A, lora.lora_A["all"], rtol=4 * U, atol=0)  # multiplied by 1 / 8, or divided by 8
    assert not bare.base.weight.requires_grad
    # As in test_lora.py: a term meets at most d_in + 2 rank + 5 roundings, of U each.
    matrix = bare.base.weight.abs() + 2 * bare.B.abs() @ bare.A.abs()
    slack = 2 * (64 + 2 * 4 + 5) * U
    bound = slack / (1 - slack) * (x.abs() @ matrix.T + bare.base.bias.abs())
    assert ((names["bare_output"] - names["output"]).abs() <= bound).all()
    assert ((names["bare_weight"] - names["weight"]).abs() <= slack / (1 - slack) * matrix).all()
    fresh = names["BareLoRA"](bare.base, rank=3, alpha=5)
    assert torch.equal(fresh(x), bare.base(x))
