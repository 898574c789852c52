"""How well can one guess? Exactly, from a list of all cases; or within the error of a sample."""

import collections

import torch


def rng(seed=0):
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)


def near(right, share):
    """Whether the share of right answers is within 5 standard errors of a probability."""
    return abs(right.double().mean().item() - share) < 5 * (share * (1 - share) / len(right)) ** 0.5 + 1e-12


def mean_is(values, expected):
    """Whether a mean is within 5 standard errors, which the values themselves tell, of its expected value."""
    return abs((values.mean() - expected).item()) < 5 * (values.std() / len(values) ** 0.5).item() + 1e-12


def best_guess(cases):
    """The accuracy of the best guesser, given all cases as (probability, what is seen, right answer)."""
    shares = collections.defaultdict(collections.Counter)
    for p, seen, answer in cases:
        shares[seen][answer] += p
    total = sum(p for answers in shares.values() for p in answers.values())
    return float(sum(max(answers.values()) for answers in shares.values()) / total)


def drawn_as_listed(drawn, cases):
    """Whether a sample has each of the listed cases (probability, case) about as often as it should, and no others."""
    counts = collections.Counter(drawn)
    odds = collections.Counter()
    for p, case in cases:
        odds[case] += p
    n = len(drawn)
    return set(counts) <= set(odds) and all(
        abs(counts[case] - n * p) < 6 * (float(n * p * (1 - p))) ** 0.5 + 1 for case, p in odds.items()
    )
