"""Documents from a Markov chain: its exact numbers against samples, sums and other ways to count."""

import math

import pytest
import torch

from course_lib.data.worlds.markov import MarkovText


def draw(world, n, seed=0):
    return world.sample(n, torch.Generator().manual_seed(seed))


def surprise(p, documents):
    return -p.gather(2, documents[:, 2:, None])[..., 0].log()


def test_the_stationary_distribution_is_kept_by_a_step():
    world = MarkovText(n_tokens=5, seed=3)
    after = (world.pairs[..., None] * world.next).sum(0)  # of the second and the third token
    assert world.pairs.sum().item() == pytest.approx(1)
    assert (world.pairs >= 0).all()
    torch.testing.assert_close(after, world.pairs)


def test_every_place_of_a_document_is_alike():
    """Shares of 20,000 documents; 5 standard errors are 0.018."""
    world = MarkovText(n_tokens=4, length=9, seed=1)
    documents = draw(world, 20_000)
    for place in range(world.length):
        shares = documents[:, place].bincount(minlength=4) / len(documents)
        torch.testing.assert_close(shares.double(), world.unigram, atol=0.018, rtol=0)


def test_mean_surprise_of_samples_is_the_entropy():
    """60,000 tokens, whose surprise has a standard deviation of about 1: 5 standard errors are 0.02."""
    world = MarkovText(n_tokens=6, length=32, seed=2)
    documents = draw(world, 2000)
    assert surprise(world.probabilities(documents), documents).mean().item() == pytest.approx(world.entropy, abs=0.03)


def test_with_many_documents_the_counts_come_close_and_with_none_they_are_uniform():
    world = MarkovText(n_tokens=4, seed=4)
    none = world.counted(draw(world, 1)[:0])
    torch.testing.assert_close(none, torch.full((4, 4, 4), 0.25, dtype=torch.float64))
    assert world.excess(none) == pytest.approx(math.log(4) - world.entropy)
    few, many = (world.excess(world.counted(draw(world, n))) for n in (20, 5000))
    assert 0 < many < few / 20


def test_adding_the_concentration_is_best_on_average():
    """Over 40 chains, adding a tenth or ten times as much is worse."""

    def mean_excess(factor):
        total = 0.0
        for seed in range(40):
            world = MarkovText(n_tokens=4, concentration=0.5, seed=seed)
            documents = draw(world, 10, seed)
            reader = MarkovText(n_tokens=4, concentration=0.5 * factor)
            total += world.excess(reader.counted(documents))
        return total / 40

    assert mean_excess(1) < min(mean_excess(0.1), mean_excess(10))


def test_who_expects_noise_mixes_by_the_rule_of_bayes():
    world = MarkovText(n_tokens=3, length=6, seed=5)
    documents = draw(world, 50)
    share = 0.4
    found = world.probabilities(documents, noise=share)
    torch.testing.assert_close(found.sum(-1), torch.ones(50, 4, dtype=torch.float64))
    for document, rows in zip(documents[:5].tolist(), found, strict=False):
        for place in range(2, world.length):
            clean, noise = (
                (1 - share) * world.pairs[document[0], document[1]],
                share * math.prod(float(world.unigram[token]) for token in document[:place]),
            )
            for a, b, c in zip(document, document[1:], document[2:place], strict=False):
                clean = clean * world.next[a, b, c]
            p = (clean * world.next[document[place - 2], document[place - 1]] + noise * world.unigram) / (clean + noise)
            torch.testing.assert_close(rows[place - 2], p)


def test_expecting_noise_costs_on_clean_documents():
    world = MarkovText(seed=6)
    documents = draw(world, 500)
    costs = [surprise(world.probabilities(documents, share), documents).mean().item() for share in (0.0, 0.1, 0.5, 0.9)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_noise_is_as_frequent_and_depends_on_nothing():
    """Pairs of 60,000 tokens: independent, so a pair is as likely as the product; 5 standard errors are 0.01."""
    world = MarkovText(n_tokens=4, length=30, seed=7)
    noise = world.noise(2000, torch.Generator().manual_seed(1))
    pairs = (
        torch.bincount((noise[:, :-1] * 4 + noise[:, 1:]).flatten(), minlength=16).reshape(4, 4) / noise[:, 1:].numel()
    )
    torch.testing.assert_close(pairs.double(), world.unigram[:, None] * world.unigram, atol=0.01, rtol=0)


@pytest.mark.parametrize("wrong", [{"n_tokens": 1}, {"length": 1}, {"concentration": 0.0}])
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(ValueError, match=r"n_tokens=1|length=1|concentration=0"):
        MarkovText(**wrong)


def test_as_letters():
    assert MarkovText(n_tokens=3).texts(torch.tensor([[0, 2, 1]])) == ["acb"]
