"""Chains of modular arithmetic, answered at once or step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.settings import check_counts

PLUS, TIMES = 0, 1


class ChainBatch(NamedTuple):
    """A batch of chains of equal length."""

    start: Int[Tensor, " batch"]
    operators: Int[Tensor, "batch step"]  # PLUS or TIMES
    operands: Int[Tensor, "batch step"]
    states: Int[Tensor, "batch step"]  # the number after each step; the last is the answer


@dataclass(frozen=True)
class ArithmeticChains:
    """Chains of a number and steps `+b` or `*c`, all modulo a small number: `3 +4 *2 =` has the answer 0 (modulo 7).

    Start and operands are uniform; c is drawn from the units (numbers without a common divisor with the modulus), so
    that every step is invertible and the answer depends on every token.

    Args:
        modulus: The modulus; all numbers are below it.
        n_steps: The number of steps in a chain. `dataclasses.replace(world, n_steps=12)` has longer chains, to test
            length generalisation.
        only_plus: Whether to leave out multiplication: the control, whose steps can be taken in any order, and so all
            at once.
        any_multiplier: Whether to draw c from all numbers: some steps then lose information, and a wrong step can lead
            to a right answer.

    Raises:
        ValueError: If the modulus is under 2, or there are no steps.
    """

    modulus: int = 7
    n_steps: int = 6
    only_plus: bool = False
    any_multiplier: bool = False

    def __post_init__(self) -> None:
        check_counts(self, "modulus", least=2)
        check_counts(self, "n_steps")

    @property
    def multipliers(self) -> tuple[int, ...]:
        """The numbers by which a step may multiply."""
        numbers = range(self.modulus)
        return tuple(c for c in numbers if self.any_multiplier or math.gcd(c, self.modulus) == 1)

    @property
    def vocab_size(self) -> int:
        """The number of tokens: numbers, then `+b` and `*c` (one for each number), "=" and "."."""
        return 3 * self.modulus + 2

    @property
    def equals(self) -> int:
        """The token between problem and answer; the next token, which is the last, is the filler "."."""
        return 3 * self.modulus

    @property
    def chance(self) -> float:
        """The best accuracy without seeing the problem: exactly the share of the most frequent answer.

        It is 1 / modulus if every step is invertible.
        """
        share = {state: Fraction(1, self.modulus) for state in range(self.modulus)}
        for _ in range(self.n_steps):
            share = self._after_a_step(share)
        return float(max(share.values()))

    def sample(self, batch: int, generator: torch.Generator) -> ChainBatch:
        """Sample chains."""
        size = (batch, self.n_steps)
        start = torch.randint(self.modulus, (batch,), generator=generator)
        operators = torch.randint(1 if self.only_plus else 2, size, generator=generator)
        added = torch.randint(self.modulus, size, generator=generator)
        units = torch.tensor(self.multipliers)
        operands = torch.where(operators == PLUS, added, units[torch.randint(len(units), size, generator=generator)])
        return ChainBatch(start, operators, operands, self.run(start, operators, operands))

    def run(
        self, start: Int[Tensor, " batch"], operators: Int[Tensor, "batch step"], operands: Int[Tensor, "batch step"]
    ) -> Int[Tensor, "batch step"]:
        """Compute the number after each step."""
        states = torch.empty_like(operands)
        for step in range(operands.shape[1]):
            operator, operand = operators[:, step], operands[:, step]
            start = torch.where(operator == PLUS, start + operand, start * operand) % self.modulus
            states[:, step] = start
        return states

    def prompt(self, chains: ChainBatch) -> Int[Tensor, "batch token"]:
        """Return the problems as tokens: start, steps, "="."""
        steps = (1 + chains.operators) * self.modulus + chains.operands
        equals = torch.full_like(chains.start, self.equals)
        return torch.cat([chains.start[:, None], steps, equals[:, None]], dim=1)

    def text(self, tokens: Int[Tensor, " token"]) -> str:
        """Convert tokens to text: `3 +4 *2 =` or `0 0`."""
        marks = [form + str(number) for form in ("", "+", "*") for number in range(self.modulus)] + ["=", "."]
        return " ".join(marks[token] for token in tokens.tolist())

    def _after_a_step(self, share: dict[int, Fraction]) -> dict[int, Fraction]:
        """Return the shares of the states after one more random step."""
        after = dict.fromkeys(range(self.modulus), Fraction(0))
        times = Fraction(0) if self.only_plus else Fraction(1, 2)
        for state, p in share.items():
            for b in range(self.modulus):
                after[(state + b) % self.modulus] += p * (1 - times) / self.modulus
            for c in self.multipliers:
                after[state * c % self.modulus] += p * times / len(self.multipliers)
        return after
