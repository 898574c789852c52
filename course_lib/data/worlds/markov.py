"""Documents from a Markov chain of second order: the probability of every next token, and the floor, are exact."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.settings import check_counts, check_numbers


@dataclass(frozen=True)
class MarkovText:
    """Documents in which each token depends on the two before it, and on nothing else.

    After each pair of tokens the probabilities of the next one are drawn from a symmetric Dirichlet distribution, once,
    with the seed. A document begins with a pair from the stationary distribution of the chain, so all its places are
    alike.

    Attributes:
        n_tokens: The number of different tokens.
        length: The number of tokens in a document.
        concentration: Of the Dirichlet distribution. Far below 1, a pair is nearly always followed by the same token;
            far above 1, all tokens are about equally likely.
        seed: The seed of the probabilities.

    Raises:
        ValueError: If a number is too small.
    """

    n_tokens: int = 10
    length: int = 32
    concentration: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "n_tokens", "length", least=2)
        check_numbers(self, "concentration", above=0)

    @functools.cached_property
    def next(self) -> Float[Tensor, "first second token"]:
        """The probability of each token after each pair."""
        alpha = np.full(self.n_tokens, self.concentration)
        drawn = np.random.default_rng(self.seed).dirichlet(alpha, size=(self.n_tokens, self.n_tokens))
        return torch.from_numpy(drawn)

    @functools.cached_property
    def pairs(self) -> Float[Tensor, "first second"]:
        """The stationary distribution: how often each pair of neighbours occurs."""
        n = self.n_tokens
        step = torch.zeros(n, n, n, n, dtype=torch.float64)  # from the pair (a, b) to the pair (b, c)
        for b in range(n):
            step[:, b, b, :] = self.next[:, b, :]
        step = step.reshape(n * n, n * n)
        # p step = p and sum(p) = 1; the sum makes the singular system I - step solvable.
        system = torch.eye(n * n, dtype=torch.float64) - step + 1
        return torch.linalg.solve(system.T, torch.ones(n * n, dtype=torch.float64)).reshape(n, n)

    @property
    def unigram(self) -> Float[Tensor, " token"]:
        """How often each token occurs."""
        return self.pairs.sum(0)

    @property
    def entropy(self) -> float:
        """The entropy of the next token after a pair, in nats: no reader's mean surprise is lower."""
        return float(-(self.pairs[..., None] * self.next * self.next.clamp(min=1e-300).log()).sum())

    def sample(self, n: int, generator: torch.Generator) -> Int[Tensor, "n length"]:
        """Sample n documents."""
        pair = torch.multinomial(self.pairs.flatten(), n, replacement=True, generator=generator)
        tokens = [pair // self.n_tokens, pair % self.n_tokens]
        while len(tokens) < self.length:
            rows = self.next[tokens[-2], tokens[-1]]
            tokens.append(torch.multinomial(rows, 1, generator=generator)[:, 0])
        return torch.stack(tokens[: self.length], 1)

    def noise(self, n: int, generator: torch.Generator) -> Int[Tensor, "n length"]:
        """Sample n documents of noise: every token is as frequent as in the others, and depends on nothing."""
        drawn = torch.multinomial(self.unigram, n * self.length, replacement=True, generator=generator)
        return drawn.reshape(n, self.length)

    def probabilities(
        self, documents: Int[Tensor, "n length"], noise: float = 0.0
    ) -> Float[Tensor, "n length-2 token"]:
        """Compute how likely each token is in each place from the third on, given the tokens before it.

        Args:
            documents: The documents.
            noise: The share of noise among the documents that the reader expects. It knows the chain and how frequent
                tokens are, and concludes from what it has read so far how likely this document is noise.
        """
        clean = self.next[documents[:, :-2], documents[:, 1:-1]]
        if not noise:
            return clean
        letters = self.unigram[documents].log()
        # After the first pair, then after each further token that has been read: ln p(read | clean) / p(read | noise).
        first = self.pairs[documents[:, 0], documents[:, 1]].log() - letters[:, :2].sum(1)
        further = clean.gather(2, documents[:, 2:, None])[..., 0].log() - letters[:, 2:]
        odds = torch.cat([first[:, None], further[:, :-1]], 1).cumsum(1)
        is_clean = (odds + np.log((1 - noise) / noise)).sigmoid()[..., None]
        return is_clean * clean + (1 - is_clean) * self.unigram

    def counted(self, documents: Int[Tensor, "n length"]) -> Float[Tensor, "first second token"]:
        """Estimate `next` from documents alone, as well as possible.

        Add the concentration to each count, and divide. It is the posterior mean under the distribution that the
        probabilities were drawn from, so no other estimate has a lower mean surprise on average over such chains.
        """
        n = self.n_tokens
        first, second, third = documents[:, :-2], documents[:, 1:-1], documents[:, 2:]
        place = ((first * n + second) * n + third).flatten()
        counts = torch.bincount(place, minlength=n**3).double().reshape(n, n, n) + self.concentration
        return counts / counts.sum(-1, keepdim=True)

    def excess(self, estimate: Float[Tensor, "first second token"]) -> float:
        """Compute how far the mean surprise of an estimate of `next` lies above the entropy, in nats."""
        gap = self.next.clamp(min=1e-300).log() - estimate.log()
        return float((self.pairs[..., None] * self.next * gap).sum())

    def texts(self, documents: Int[Tensor, "n length"]) -> list[str]:
        """Write documents as letters."""
        return ["".join(chr(ord("a") + token) for token in document) for document in documents.tolist()]
