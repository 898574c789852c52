"""The control that counts: against counting by hand, and what every estimate of probabilities must be."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.measure import ngram_surprise

TEXTS = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def by_hand(train, context, token, vocab_size):
    """Witten and Bell's estimate, from its definition, for a context of any length."""
    n = len(context) + 1
    if n == 0:
        return 1 / vocab_size
    shorter = by_hand(train, context[1:], token, vocab_size) if context else 1 / vocab_size
    runs = Counter(tuple(train[i : i + n]) for i in range(len(train) - n + 1))
    after = {run[-1]: times for run, times in runs.items() if run[:-1] == tuple(context)}
    if not after:
        return shorter
    return (after.get(token, 0) + len(after) * shorter) / (sum(after.values()) + len(after))


@given(TEXTS, TEXTS, st.integers(1, 4))
def test_it_is_the_estimate_by_hand(train, test, n):
    found = ngram_surprise(torch.tensor(train), torch.tensor(test), 5, n)
    expected = [-math.log(by_hand(train, test[max(0, i - n + 1) : i], test[i], 5)) for i in range(len(test))]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@given(TEXTS, TEXTS, st.integers(1, 3))
def test_the_probabilities_of_all_next_tokens_add_up_to_one(train, context, n):
    last = [ngram_surprise(torch.tensor(train), torch.tensor([*context, token]), 5, n)[-1] for token in range(5)]
    assert torch.stack(last).neg().exp().sum().item() == pytest.approx(1, rel=1e-12)


def test_more_context_helps_where_there_is_something_to_know():
    text = torch.arange(3).repeat(500)
    one, two = (ngram_surprise(text, text, 3, n).mean().item() for n in (1, 2))
    assert one == pytest.approx(math.log(3), rel=1e-3)
    assert two < 0.01


def test_runs_beyond_64_bits_are_refused():
    text = torch.arange(10)
    with pytest.raises(ValueError, match="runs of 5 tokens cannot be numbered for a vocabulary of 16384"):
        ngram_surprise(text, text, 16384, 5)


@pytest.mark.parametrize(("train", "test"), [([0, 4], [0]), ([0], [3, 4]), ([0], [-1]), ([-100], [])])
def test_tokens_of_another_vocabulary_are_refused(train, test):
    with pytest.raises(ValueError, match="are not those of a vocabulary of 4"):
        ngram_surprise(torch.tensor(train), torch.tensor(test, dtype=torch.int64), 4, 2)
