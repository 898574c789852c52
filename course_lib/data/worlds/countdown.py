"""Countdown: combine all numbers, each once, to reach a target. Many answers can be right, and each can be verified."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.data.worlds.sampling import interleave, permutations
from course_lib.settings import check_counts

OPERATIONS = "+-*"


class CountdownBatch(NamedTuple):
    """A batch of problems, each with one of its solutions."""

    numbers: Int[Tensor, "batch number"]
    target: Int[Tensor, " batch"]
    solution: Int[Tensor, "batch symbol"]  # the tokens that the problem was made from: number, operation, number, ...


@dataclass(frozen=True)
class Countdown:
    """Countdown problems: numbers and a target to reach by "+", "-" and "*", evaluated from left to right.

    An answer is all numbers in some order with operations between them: `7 3 2 for 8 =` has the answer `7 - 3 * 2`. A
    problem is made by evaluating a random answer and kept if its value is from 0 to n_targets - 1, so it always has a
    solution, and problems with many are drawn more often. One in ten of the different problems (numbers in any order,
    and target) is held out: `sample` draws it only when asked.

    Raises:
        ValueError: If there are fewer than two numbers, no largest number or no targets.

    Source: the task of TinyZero (Pan et al. 2025), cut down.
    """

    n_numbers: int = 3
    largest: int = 9
    n_targets: int = 100

    def __post_init__(self) -> None:
        check_counts(self, "n_numbers", least=2)
        check_counts(self, "largest", "n_targets")

    @property
    def vocab_size(self) -> int:
        """The number of tokens: 0 to the largest number, the operations, "=", then the targets."""
        return self.largest + 2 + len(OPERATIONS) + self.n_targets

    @property
    def equals(self) -> int:
        """The token between problem and answer."""
        return self.largest + 1 + len(OPERATIONS)

    def sample(self, batch: int, generator: torch.Generator, held_out: bool = False) -> CountdownBatch:
        """Sample problems for training, or held-out ones.

        Raises:
            ValueError: If the world is too small to have any.
        """
        parts: list[CountdownBatch] = []
        for _ in range(100):
            part = self._candidates(max(4 * batch, 1000), generator)
            keep = (part.target >= 0) & (part.target < self.n_targets)
            keep &= self.is_held_out(part.numbers, part.target) == held_out
            parts.append(CountdownBatch(*(tensor[keep] for tensor in part)))
            if sum(len(part.target) for part in parts) >= batch:
                return CountdownBatch(*(torch.cat(tensors)[:batch] for tensors in zip(*parts, strict=True)))
        side = "held-out" if held_out else "training"
        raise ValueError(f"{self} has too few {side} problems; give it more numbers, larger ones, or more targets")

    def _candidates(self, n: int, generator: torch.Generator) -> CountdownBatch:
        numbers = torch.randint(1, self.largest + 1, (n, self.n_numbers), generator=generator)
        order = permutations(n, self.n_numbers, generator)
        operations = torch.randint(len(OPERATIONS), (n, self.n_numbers - 1), generator=generator)
        solution = self._written(numbers.gather(1, order), operations)
        return CountdownBatch(numbers, self.value(solution), solution)

    def is_held_out(
        self, numbers: Int[Tensor, "batch number"], target: Int[Tensor, " batch"]
    ) -> Bool[Tensor, " batch"]:
        """Return whether a problem is held out, whatever the order of its numbers: about one in ten is."""
        key = target
        for number in numbers.sort(1).values.T:
            # A linear congruential generator's step, so that similar problems do not end up together.
            key = (key * 1_103_515_245 + number * 12_345 + 1) % 2**31
        return key // 2**16 % 10 == 0

    def value(self, answer: Int[Tensor, "batch symbol"]) -> Int[Tensor, " batch"]:
        """Evaluate answers from left to right; a token that is no operation counts as "*"."""
        value = answer[:, 0]
        for i in range(1, answer.shape[1], 2):
            operation, number = answer[:, i] - self.largest - 1, answer[:, i + 1]
            value = torch.where(
                operation == 0, value + number, torch.where(operation == 1, value - number, value * number)
            )
        return value

    def verify(self, problems: CountdownBatch, answer: Int[Tensor, "batch symbol"]) -> Bool[Tensor, " batch"]:
        """Check whether answers are well formed, use exactly the problem's numbers, and reach the target.

        Raises:
            ValueError: If the answers do not have 2 n_numbers - 1 symbols.
        """
        if answer.shape[1] != 2 * self.n_numbers - 1:
            raise ValueError(f"an answer has {2 * self.n_numbers - 1} symbols, not {answer.shape[1]}")
        operations = answer[:, 1::2]
        formed = ((operations > self.largest) & (operations < self.equals)).all(1)
        same = (answer[:, 0::2].sort(1).values == problems.numbers.sort(1).values).all(1)
        return formed & same & (self.value(answer) == problems.target)

    def chance(self, problems: CountdownBatch) -> Float[Tensor, " batch"]:
        """Compute the exact probability, for each problem, that a random order with random operations is right."""
        orders = torch.tensor(list(itertools.permutations(range(self.n_numbers))))
        choices = torch.tensor(list(itertools.product(range(len(OPERATIONS)), repeat=self.n_numbers - 1)))
        n, n_choices = len(orders) * len(choices), len(choices)
        numbers = problems.numbers[:, orders].repeat_interleave(n_choices, dim=1).flatten(0, 1)
        answers = self._written(numbers, choices.repeat(len(orders) * len(problems.target), 1))
        hit = self.value(answers).view(-1, n) == problems.target[:, None]
        return hit.double().mean(1)

    def prompt(self, problems: CountdownBatch) -> Int[Tensor, "batch token"]:
        """Encode problems as tokens: numbers, target, "="."""
        target = problems.target[:, None] + self.equals + 1
        return torch.cat([problems.numbers, target, torch.full_like(target, self.equals)], dim=1)

    def text(self, tokens: Int[Tensor, " token"]) -> str:
        """Convert tokens to text: `7 3 2 for 8 =` or `7 - 3 * 2`."""
        marks = [str(n) for n in range(self.largest + 1)] + [*OPERATIONS, "="]
        return " ".join(marks[t] if t <= self.equals else f"for {t - self.equals - 1}" for t in tokens.tolist())

    def _written(
        self, numbers: Int[Tensor, "batch number"], operations: Int[Tensor, "batch operation"]
    ) -> Int[Tensor, "batch symbol"]:
        """Encode numbers with operations between them as tokens."""
        return torch.cat([numbers[:, :1], interleave(operations + self.largest + 1, numbers[:, 1:])], dim=1)
