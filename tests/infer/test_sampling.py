"""The distribution of the next token is that of transformers' warpers, and draws come from it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from course_lib.infer.generation.sampling import GREEDY, Sampling, probabilities, sample


def of_transformers(logits, sampling):
    """In the order in which their `generate` calls them."""
    warpers = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k is not None:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p is not None:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    for warper in warpers:
        logits = warper(None, logits)
    return logits.softmax(dim=-1)


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.01, 0.5, 1, 1.7, 30.0]),
    top_k=st.none() | st.integers(1, 40),
    top_p=st.none() | st.sampled_from([1e-9, 1e-6, 0.1, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.none() | st.sampled_from([0.0, 1e-3, 0.1, 0.5, 1.0]),
)
# Wide, narrow, one token only; ties among few values; logits that forbid a token.
logits = st.builds(
    lambda seed, rows, vocab, spread, ties, forbidden: (
        torch.manual_seed(seed),
        (torch.randint(3, (rows, vocab)).float() if ties else spread * torch.randn(rows, vocab)).masked_fill(
            (torch.rand(rows, vocab) < forbidden) & (torch.arange(vocab) != seed % vocab), -math.inf
        ),
    )[1],
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 3),
    vocab=st.sampled_from([1, 2, 5, 30]),
    spread=st.sampled_from([0.1, 2.0, 20.0]),
    ties=st.booleans(),
    forbidden=st.sampled_from([0.0, 0.5, 1.0]),
)


@settings(max_examples=400, deadline=None)
@given(logits, samplings)
def test_the_distribution_of_transformers(logits, sampling):
    found, expected = probabilities(logits, sampling), of_transformers(logits, sampling)
    assert torch.equal(found > 0, expected > 0)  # the same tokens are left, and ties are broken alike
    # Float32 sums of at most 30 numbers up to 1, divided once more where min_p is asked for.
    assert (found - expected).abs().max() <= 1e-6
    assert torch.isfinite(found).all()


@given(logits)
@settings(max_examples=50, deadline=None)
def test_temperature_0_takes_the_first_of_the_likeliest(logits):
    found = probabilities(logits, Sampling(temperature=0, top_k=3, top_p=0.5))
    for row, token in zip(logits, sample(logits, GREEDY), strict=True):
        assert row[token] == row.max()
        assert (row[:token] < row.max()).all()
    assert torch.equal(found.argmax(dim=-1), sample(logits, GREEDY))
    assert torch.equal(found.sum(dim=-1), torch.ones(len(found)))
    assert torch.equal(found.max(dim=-1).values, torch.ones(len(found)))


def test_by_hand():
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    assert (probabilities(torch.zeros(4), Sampling(top_p=0.5)) > 0).sum() == 2  # two have the half already
    for sampling, expected in (
        (Sampling(), [0.5, 0.25, 0.125, 0.125]),
        (Sampling(0.5), [8 / 11, 2 / 11, 0.5 / 11, 0.5 / 11]),  # squares
        (Sampling(top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(top_k=3), [0.5, 0.25, 0.125, 0.125]),  # the fourth is as likely as the third
        (Sampling(top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(min_p=0.4), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(top_k=2, top_p=0.6), [1, 0, 0, 0]),  # of the two that are left the first has two thirds
    ):
        assert probabilities(logits, sampling).tolist() == pytest.approx(expected), sampling


def test_draws_come_from_the_distribution_and_from_the_generator():
    torch.manual_seed(0)
    logits = 2 * torch.randn(2, 6)
    sampling = Sampling(temperature=1.3, top_k=5)
    generator = torch.Generator().manual_seed(3)
    n = 20_000
    drawn = sample(logits.expand(n, 2, 6), sampling, generator)
    assert drawn.shape == (n, 2)
    for row, shares in enumerate(probabilities(logits, sampling).double()):
        counts = drawn[:, row].bincount(minlength=6).double()
        # Five standard deviations of a binomial; exactly none of a token that has no share.
        assert ((counts - n * shares).abs() <= 5 * (n * shares * (1 - shares)).sqrt()).all()
    again = sample(logits.expand(n, 2, 6), sampling, torch.Generator().manual_seed(3))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, sample(logits.expand(n, 2, 6), sampling, generator))


def test_half_precision_is_computed_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(1, 1000, dtype=torch.bfloat16)
    found = probabilities(logits, Sampling(top_p=0.9))
    assert found.dtype == torch.float32
    assert torch.equal(found, probabilities(logits.float(), Sampling(top_p=0.9)))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -1}, "temperature=-1 must be a number from 0 on"),
        ({"temperature": math.inf}, "temperature=inf"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0 must be a whole number"),
        ({"top_k": 2.5}, "top_k=2.5"),
        ({"top_p": 0}, "top_p=0 must be more than 0 and at most 1"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"min_p": -0.1}, "min_p=-0.1 must lie between 0 and 1"),
        ({"min_p": math.nan}, "min_p=nan"),
    ],
)
def test_settings_that_mean_nothing(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sampling(**settings)


def test_a_temperature_near_0_is_greedy_and_a_single_row_is_a_batch_of_none():
    logits = torch.tensor([1.0, 3.0, 2.9, -math.inf])
    for temperature in (1e-40, 1e-50, 5e-324):  # the last two are 0 in float32
        assert probabilities(logits, Sampling(temperature)).tolist() == [0, 1, 0, 0]
        assert sample(logits, Sampling(temperature)).tolist() == 1
    with pytest.raises(ValueError, match="top_k=inf must be a whole number"):
        Sampling(top_k=math.inf)
