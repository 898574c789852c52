"""Sums as somebody writes them, with slips or a misconception, in four wordings: every answer's chance is computed.

The sums are those of `course_lib.data.worlds.arithmetic`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.worlds.arithmetic import ArithmeticChains, ChainBatch

WORDINGS = ("first =", "first ?", "last =", "last ?")  # where the start stands, and how the problem ends

# From rows of tokens to the log-probabilities of the numbers that may come next, at each place.
NextNumber = Callable[[Int[Tensor, "row token"]], Float[Tensor, "row token number"]]


def writing_rule(
    modulus: int, slip: float = 0.0, habit: float = 0.0
) -> Float[Tensor, "operator operand number number_after"]:
    """Return the probability of each number that somebody may write after a step.

    Args:
        modulus: The modulus of the sums.
        slip: The chance that a step is wrong; any wrong number is then equally likely.
        habit: The chance that a multiplication by 3 or more is taken for an addition.
    """
    number, operand = torch.arange(modulus), torch.arange(modulus)[:, None]
    plus = F.one_hot((number + operand) % modulus, modulus).float()
    times = F.one_hot(number * operand % modulus, modulus).float()
    taken = torch.where(operand >= 3, habit, 0.0)[..., None]
    rule = torch.stack([plus, (1 - taken) * times + taken * plus])
    return (1 - slip) * rule + slip * (1 - rule) / (modulus - 1)


def write(
    rule: Float[Tensor, "operator operand number number_after"], chains: ChainBatch, generator: torch.Generator
) -> Int[Tensor, "batch step"]:
    """Draw the numbers that somebody writes down, one after each step."""
    number, states = chains.start, []
    for step in range(chains.operands.shape[1]):
        chance = rule[chains.operators[:, step], chains.operands[:, step], number]
        number = torch.multinomial(chance, 1, generator=generator)[:, 0]
        states.append(number)
    return torch.stack(states, dim=1)


def written_chances(
    rule: Float[Tensor, "operator operand number number_after"], chains: ChainBatch
) -> Float[Tensor, "batch answer"]:
    """Compute how often somebody who writes by this rule arrives at each answer."""
    answers = F.one_hot(chains.start, rule.shape[-1]).float()
    for step in range(chains.operands.shape[1]):
        moves = rule[chains.operators[:, step], chains.operands[:, step]]
        answers = (answers[:, None] @ moves)[:, 0]
    return answers


def ask(
    world: ArithmeticChains, chains: ChainBatch, wording: Int[Tensor, " batch"] | int = 0
) -> Int[Tensor, "batch token"]:
    """Return the problems as tokens, each in its wording, a place in WORDINGS.

    The token after "=", which is a filler elsewhere, is "?" here.
    """
    wording = torch.as_tensor(wording).expand(len(chains.start))
    tokens = world.prompt(chains)  # start, steps, "="
    last = torch.cat([tokens[:, 1:-1], tokens[:, :1], tokens[:, -1:]], dim=1)
    tokens = torch.where((wording >= 2)[:, None], last, tokens)
    return torch.cat([tokens[:, :-1], tokens[:, -1:] + (wording % 2)[:, None]], dim=1)


def answer_chances(
    next_number: NextNumber, prompts: Int[Tensor, "batch token"], modulus: int, steps: int
) -> Float[Tensor, "batch answer"]:
    """Compute how often a model gives each answer, by adding up the probabilities of all chains that end in it."""
    paths = torch.cartesian_prod(*[torch.arange(modulus)] * (steps - 1)).view(-1, steps - 1)
    given = prompts.repeat_interleave(len(paths), 0), paths.repeat(len(prompts), 1)
    log_p = next_number(torch.cat(given, dim=1))[:, -steps:]
    log_p = log_p.view(len(prompts), len(paths), steps, modulus)
    ways = log_p[:, :, -1]  # of the last number; the earlier ones are those of the path
    for step in range(steps - 1):
        ways = ways + log_p[:, torch.arange(len(paths)), step, paths[:, step], None]
    return ways.exp().sum(1)


def sample_answers(
    next_number: NextNumber, prompts: Int[Tensor, "batch token"], steps: int, samples: int, generator: torch.Generator
) -> Int[Tensor, "batch sample"]:
    """Sample chains of numbers from a model at temperature 1, and return their answers."""
    tokens = prompts.repeat_interleave(samples, 0)
    for _ in range(steps):
        chance = next_number(tokens)[:, -1].exp()
        tokens = torch.cat([tokens, torch.multinomial(chance, 1, generator=generator)], dim=1)
    return tokens[:, -1].view(-1, samples)
