"""Bias in word vectors: the Word Embedding Association Test.

Source: Caliskan et al. 2017, supplementary text.
"""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

_EXACT = 200_000  # up to this many divisions are all tried: 10 and 10 words have 184,756


def association(
    words: Float[Tensor, "words width"], a: Float[Tensor, "a width"], b: Float[Tensor, "b width"]
) -> Float[Tensor, " words"]:
    """Compute how much closer each word is to the attributes `a` than to `b`: a difference of mean cosines, -2 to 2.

    Raises:
        ValueError: If a vector is all zeros and so has no direction.
    """
    words, a, b = (_unit(vectors) for vectors in (words, a, b))
    return (words @ a.T).mean(1) - (words @ b.T).mean(1)


def weat_effect_size(
    x: Float[Tensor, "x width"],
    y: Float[Tensor, "y width"],
    a: Float[Tensor, "a width"],
    b: Float[Tensor, "b width"],
) -> float:
    """Compute the effect size of the test: how much more `x` than `y` is associated with `a` rather than `b`.

    It is the difference of the mean associations, divided by the standard deviation of all associations. This is the
    population's standard deviation, so the effect size is from -2 to 2 if there are as many `x` as `y`.

    Args:
        x: Vectors of the first targets.
        y: Vectors of the second targets.
        a: Vectors of the first attributes.
        b: Vectors of the second attributes.

    Raises:
        ValueError: If all associations are equal.
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
    """Compute the one-sided p-value of a permutation test of the association.

    It is the share of the ways to divide the targets again into two sets for which these differ at least as much as `x`
    and `y` do.

    The p-value is exact if there are at most 200,000 ways; otherwise it is estimated from random ones, to which the
    given division is added (Phipson and Smyth 2010). The paper counts only greater differences, so its p can be 0; this
    one is never 0.

    Args:
        x: Vectors of the first targets.
        y: Vectors of the second targets.
        a: Vectors of the first attributes.
        b: Vectors of the second attributes.
        draws: The number of random divisions, if there are too many to try all.
        seed: The seed of the random divisions.
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
