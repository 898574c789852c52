"""Batches in an order that is a pure function of a seed and the number of samples read before."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


@runtime_checkable
class Samples(Protocol):
    """The data of a loader: a tensor, `Packed` rows, `Windows`, or anything else with a length and indexing."""

    def __len__(self) -> int: ...
    def __getitem__(self, which: Int[Tensor, " chosen"], /) -> Any: ...


@dataclass(frozen=True)
class Loader:
    """Shuffled batches that resume exactly; the only state to save is the number of samples that all ranks have read.

    Sample number i is the (i mod n)-th of epoch i // n. Each epoch reads every sample once, in its own order; a batch
    may reach into the next epoch. Rank r of w reads every w-th sample of the batch, from the r-th on, so that the ranks
    together read the same batches whatever w is. Between two runs batch_size and world_size may change.

    Args:
        samples: The data to read.
        batch_size: The number of samples in a batch, over all ranks together.
        seed: The seed of the order.
        rank: The rank of this process.
        world_size: The number of processes that read.
        epochs: The number of epochs, None for no end; the last batch may be shorter, and shared unequally.

    Raises:
        ValueError: If there are no samples, a batch is larger than the data, or the ranks cannot share it equally.
    """

    samples: Samples
    batch_size: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    epochs: int | None = None

    def __post_init__(self) -> None:
        n = len(self.samples)
        if not 1 <= self.batch_size <= n:
            raise ValueError(f"a batch of {self.batch_size} cannot be drawn from {n} samples; pass at most that many")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} does not exist among {self.world_size} ranks; the first is 0")
        if self.batch_size % self.world_size:
            raise ValueError(f"a batch of {self.batch_size} cannot be shared equally by {self.world_size} ranks")
        if not 0 <= self.seed < 2**32 or (self.epochs is not None and self.epochs < 1):
            raise ValueError(f"seed={self.seed} must be in [0, 2**32), and epochs={self.epochs} at least 1, or None")

    def read(self, samples_read: int = 0) -> Iterator[tuple[int, Any]]:
        """Yield the batches after `samples_read` samples.

        Each is (number of samples read including this batch, this rank's share of the batch).
        """
        while (after := self._read_after_batch(samples_read)) > samples_read:
            yield after, self.samples[self.ids(samples_read)]
            samples_read = after

    def _read_after_batch(self, samples_read: int) -> int:
        after = samples_read + self.batch_size
        return after if self.epochs is None else min(after, self.epochs * len(self.samples))

    def ids(self, samples_read: int) -> Int[Tensor, " share"]:
        """Return the indices of the samples that this rank reads in the batch after `samples_read` samples.

        Raises:
            ValueError: If `samples_read` is negative.
        """
        if samples_read < 0:
            raise ValueError(f"samples_read={samples_read} is negative; before the first batch it is 0")
        n, after = len(self.samples), self._read_after_batch(samples_read)
        numbers = np.arange(samples_read, after, dtype=np.int64)[self.rank :: self.world_size]
        chosen = np.empty_like(numbers)
        for epoch in np.unique(numbers // n):
            inside = numbers // n == epoch
            chosen[inside] = epoch_order(n, self.seed, int(epoch))[numbers[inside] % n]
        return torch.from_numpy(chosen)


@functools.lru_cache(maxsize=2)  # a batch may lie in two epochs
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the random order of 0 ... n-1 of a seed and an epoch; it takes 80 MB for ten million samples.

    It uses NumPy's old generator, whose numbers no later version may change, so that a run can be resumed with it.
    """
    return np.random.RandomState([seed, epoch]).permutation(n)


@dataclass(frozen=True)
class Windows:
    """A long text as samples: windows of length + 1 tokens, with inputs `[:, :-1]` and targets `[:, 1:]`.

    Each window begins with the last target of the one before, so that no token is an input twice in an epoch. A rest at
    the end that is shorter than a window is not read.

    Raises:
        ValueError: If no window fits.
    """

    tokens: Int[Tensor, " tokens"]
    length: int

    def __post_init__(self) -> None:
        if self.length < 1 or len(self) < 1:
            raise ValueError(f"windows of {self.length + 1} tokens do not fit into a text of {len(self.tokens)} tokens")

    def __len__(self) -> int:
        return max(len(self.tokens) - 1, 0) // self.length

    def __getitem__(self, which: Int[Tensor, " chosen"]) -> Int[Tensor, "chosen window"]:
        return self.tokens[which[:, None] * self.length + torch.arange(self.length + 1)]
