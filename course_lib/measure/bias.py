"""Bias in word vectors: counted vectors, the Word Embedding Association Test, and a split into two clusters.

Source: Caliskan et al. 2017, supplementary text.
"""

from __future__ import annotations

import functools
import itertools
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

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


def weat_difference(
    x: Float[Tensor, "x width"],
    y: Float[Tensor, "y width"],
    a: Float[Tensor, "a width"],
    b: Float[Tensor, "b width"],
) -> float:
    """Compute the difference of the mean associations of `x` and `y`, in cosines: the effect size before its division.

    Args:
        x: Vectors of the first targets.
        y: Vectors of the second targets.
        a: Vectors of the first attributes.
        b: Vectors of the second attributes.
    """
    return float(association(x, a, b).mean() - association(y, a, b).mean())


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
    two_sided: bool = False,
) -> float:
    """Compute the p-value of a permutation test of the association.

    It is the share of the ways to divide the targets again into two sets for which these differ at least as much as `x`
    and `y` do: in the same direction, as the paper tests, or in either.

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
        two_sided: Whether as large a difference in the other direction counts too.
    """
    every = torch.cat([association(x, a, b), association(y, a, b)])
    n, total = len(x), len(every)
    every = every - every.mean()  # then the sum over a set is the difference, but for a factor
    size = torch.abs if two_sided else torch.clone
    # The same sum added up in another order counts as the same; for 100 words in float64 the two are less than 1e-11
    # apart.
    observed = size(every[:n].sum()) - 1e-11
    ways = math.comb(total, n)
    if ways <= _EXACT:
        sums = every[_divisions(total, n)].sum(1)
        return float((size(sums) >= observed).double().mean())
    generator = torch.Generator().manual_seed(seed)
    sums = every[torch.rand(draws, total, generator=generator).argsort(1)[:, :n]].sum(1)
    return (1 + int((size(sums) >= observed).sum())) / (1 + draws)


@functools.lru_cache(maxsize=4)  # a lab tests the same number of words again and again
def _divisions(total: int, n: int) -> Int[Tensor, "way n"]:
    """Return every way to choose n of `total` places."""
    chosen = itertools.chain.from_iterable(itertools.combinations(range(total), n))
    return torch.tensor(list(chosen)).view(-1, n)


def count_vectors(
    sentences: Int[Tensor, "sentence word"], n_words: int, width: int = 16
) -> Float[Tensor, "n_words width"]:
    """Compute word vectors by counting which words share a sentence.

    Two words that share more sentences than chance would have it get the logarithm of the ratio, others 0: the positive
    pointwise mutual information (PPMI). A singular value decomposition shortens these rows.

    Args:
        sentences: Numbers of words. Number 0 fills up the rows, and is not counted.
        n_words: The number of words, with number 0.
        width: The length of the vectors.

    Source: Levy et al. 2015, section 2, with the square root of the singular values.
    """
    there = F.one_hot(sentences, n_words).sum(1).double()
    there[:, 0] = 0
    together = there.T @ there
    together.fill_diagonal_(0)
    often = together.sum(1)
    by_chance = often[:, None] * often / often.sum()
    ppmi = (together / by_chance.clamp(min=1)).clamp(min=1).log()
    left, sizes, _ = torch.linalg.svd(ppmi)
    return left[:, :width] * sizes[:width].sqrt()


def clusters_agree(vectors: Float[Tensor, "n width"], half: Bool[Tensor, " n"]) -> float:
    """Split vectors into two clusters, and compute the share of them that fall in with a given division, 0.5 to 1.

    The clusters are those of k-means on vectors of length 1, from the direction in which these differ most. They have
    no names, so the better of both namings counts.

    Args:
        vectors: The vectors.
        half: For each, whether it is of the one half or of the other.
    """
    x = F.normalize(vectors, dim=1)
    x = x - x.mean(0)
    side = torch.linalg.svd(x, full_matrices=False)[0][:, 0] > 0
    for _ in range(20):
        means = x[~side].mean(0), x[side].mean(0)
        side = (x - means[1]).norm(dim=1) < (x - means[0]).norm(dim=1)
    agree = float((side == half).double().mean())
    return max(agree, 1 - agree)


def _unit(vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    lengths = vectors.double().norm(dim=1, keepdim=True)
    if not (lengths > 0).all():
        raise ValueError("a vector of zeros points nowhere; leave that word out")
    return vectors.double() / lengths
