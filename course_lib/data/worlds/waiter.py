"""A waiter with six words: completions so short that all can be listed, with a true reward and a proxy reward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.settings import check_counts

DISHES = ("soup", "fish", "cake")
WORDS = (*DISHES, "here", "enjoy", "!")
BANG = WORDS.index("!")
# The waiters' policy: the probability of each part of a completion, in order.
HERE, RIGHT, ENJOY, ONE_BANG, TWO_BANGS = 0.6, 0.5, 0.5, 0.4, 0.05


@dataclass(frozen=True)
class Waiter:
    """A world in which a guest names a dish and the waiter replies with at most `longest` words: `here fish enjoy !`.

    Tokens 0, 1, ... are `words`, then comes the end token. Half of all waiters bring the wrong dish.

    Raises:
        ValueError: If `longest` is too small for the longest sentence.
    """

    longest: int = 5

    def __post_init__(self) -> None:
        check_counts(self, "longest", least=5)  # words of the longest sentence

    @property
    def words(self) -> tuple[str, ...]:
        """The words, in the order of their tokens."""
        return WORDS

    @property
    def end(self) -> int:
        """The token that ends a completion."""
        return len(WORDS)

    @property
    def prompts(self) -> list[list[int]]:
        """The three orders, of one token each, the dish."""
        return [[dish] for dish in range(len(DISHES))]

    def text(self, reply: list[int]) -> str:
        """Convert a completion to words."""
        return " ".join(WORDS[token] for token in reply if token != self.end) or "(nothing)"

    def sample(self, n: int, generator: torch.Generator) -> tuple[list[list[int]], list[list[int]]]:
        """Sample n orders with the waiters' completions, without the end token."""
        chance = torch.rand(n, 4, generator=generator).tolist()
        dishes = torch.randint(len(DISHES), (n, 2), generator=generator).tolist()
        asked, said = [], []
        for (here, right, enjoy, bang), (dish, other) in zip(chance, dishes, strict=True):
            reply = [WORDS.index("here")] if here < HERE else []
            reply.append(dish if right < RIGHT else (dish + 1 + other % 2) % len(DISHES))
            if enjoy < ENJOY:
                reply.append(WORDS.index("enjoy"))
            reply += [BANG] * ((bang < ONE_BANG + TWO_BANGS) + (bang < TWO_BANGS))
            asked.append([dish])
            said.append(reply)
        return asked, said

    def served(
        self, ids: Int[Tensor, "batch tokens"], completion_mask: Bool[Tensor, "batch tokens"]
    ) -> Bool[Tensor, " batch"]:
        """Return whether a completion names the dish that was ordered and no other; `ids` begin with the order."""
        dish = completion_mask & (ids < len(DISHES))
        return (dish & (ids == ids[:, :1])).any(1) & ~(dish & (ids != ids[:, :1])).any(1)

    def gold_reward(
        self, ids: Int[Tensor, "batch tokens"], completion_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, " batch"]:
        """Compute the guest's reward: 2 for the right dish, 1 for an exclamation mark, minus 1 for each further one."""
        bangs = (completion_mask & (ids == BANG)).sum(1)
        return 2.0 * self.served(ids, completion_mask) + torch.where(bangs > 0, 2 - bangs, 0)

    def proxy_reward(
        self, ids: Int[Tensor, "batch tokens"], completion_mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, " batch"]:
        """Compute a judge's reward: 2 for the right dish and 1 for each exclamation mark.

        The judge likes the marks and has seen at most two in a completion. It agrees with the guest about nearly all
        completions that waiters give, but rewards any number of marks.
        """
        return 2.0 * self.served(ids, completion_mask) + (completion_mask & (ids == BANG)).sum(1)
