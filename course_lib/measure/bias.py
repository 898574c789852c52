"""Bias in word vectors: the Word Embedding Association Test. Source: Caliskan et al. 2017, supplementary text."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

_EXACT = 200_000  # so many ways to divide words are looked at one by one: 10 and 10 words have 184,756


def association(
    words: Float[Tensor, "words width"], a: Float[Tensor, "a width"], b: Float[Tensor, "b width"]
) -> Float[Tensor, " words"]:
    """How much nearer each word is to the attributes `a` than to `b`: the difference of its mean cosines, -2 to 2.

    Raises:
        ValueError: A vector is all zeros, and points nowhere.
    """
    words, a, b = (_unit(vectors) for vectors in (words, a, b))
    return (words @ a.T).mean(1) - (words @ b.T).mean(1)


def weat_effect_size(
    x: Float[Tensor, "x width"],
    y: Float[Tensor, "y width"],
    a: Float[Tensor, "a width"],
    b: Float[Tensor, "b width"],
) -> float:
    """How much more the targets `x` than `y` are associated with `a` rather than `b`, in standard deviations.

    The difference of the mean associations over the standard deviation of all of them (of the population, so that it
    is from -2 to 2 for as many `x` as `y`).

    Args:
        x: Vectors of the first targets.
        y: Vectors of the second targets.
        a: Vectors of the first attributes.
        b: Vectors of the second attributes.

    Raises:
        ValueError: All associations are the same.
    """
    of_x, of_y = association(x, a, b), association(y, a, b)
    spread = torch.cat([of_x, of_y]).std(correction=0)
    if spread < 1e-12:  # rounding alone
        raise ValueError("all targets have the same association, so there is no scale to measure a difference on")
    return float((of_x.mean() - of_y.mean()) / spread)


def weat_p_value(
    x: Float[Tensor, "x width"],
    y: Float[Tensor, "y width"],
    a: Float[Tensor, "a width"],
    b: Float[Tensor, "b width"],
    draws: int = 100_000,
    seed: int = 0,
) -> float:
    """The one-sided p-value of a permutation test: how often targets divided anew differ as much as `x` and `y` do.

    Exact where there are at most 200,000 ways to divide them; otherwise of random ones, to which the given one is added
    (Phipson and Smyth 2010). The paper counts greater differences only, so that its p can be 0; this is never 0.

    Args:
        x: Vectors of the first targets.
        y: Vectors of the second targets.
        a: Vectors of the first attributes.
        b: Vectors of the second attributes.
        draws: How many random ways, where there are too many to try all.
        seed: Of the draws.
    """
    every = torch.cat([association(x, a, b), association(y, a, b)])
    n, total = len(x), len(every)
    # The sum over a set decides: the sum over the others, and with it the difference, follows from it. The same sum
    # added up in another order counts as the same; for 100 words in float64 the two are less than 1e-11 apart.
    observed = every[:n].sum() - 1e-11
    ways = math.comb(total, n)
    if ways <= _EXACT:
        chosen = itertools.chain.from_iterable(itertools.combinations(range(total), n))
        sums = every[torch.tensor(list(chosen)).view(ways, n)].sum(1)
        return float((sums >= observed).double().mean())
    generator = torch.Generator().manual_seed(seed)
    sums = every[torch.rand(draws, total, generator=generator).argsort(1)[:, :n]].sum(1)
    return (1 + int((sums >= observed).sum())) / (1 + draws)


def _unit(vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    lengths = vectors.double().norm(dim=1, keepdim=True)
    if not (lengths > 0).all():
        raise ValueError("a vector of zeros points nowhere; leave that word out")
    return vectors.double() / lengths
