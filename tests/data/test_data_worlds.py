"""Synthetic worlds: what they draw, and that their chance levels and ceilings are exact."""

import collections
import itertools

import pytest
import torch
from guessing import near, rng
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data.worlds.recall import AssociativeRecall
from course_lib.data.worlds.relations import TwoRelations
from course_lib.data.worlds.sampling import largest_share

MANY = 40_000


def most_frequent(values, n_values):
    return torch.nn.functional.one_hot(values, n_values).sum(1).argmax(1)


@settings(deadline=None)
@given(draws=st.integers(1, 5), values=st.integers(1, 4))
def test_largest_share_by_listing_everything(draws, values):
    lists = list(itertools.product(range(values), repeat=draws))
    expected = sum(max(collections.Counter(row).values()) for row in lists) / len(lists) / draws
    assert largest_share(draws, values) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(
    n_keys=st.integers(1, 20), n_values=st.integers(1, 20), n_pairs=st.integers(1, 20), seed=st.integers(0, 2**32)
)  # fmt: skip
def test_recall_asks_about_what_it_showed(n_keys, n_values, n_pairs, seed):
    if n_pairs > min(n_keys, n_values):
        with pytest.raises(ValueError, match="cannot be"):
            AssociativeRecall(n_keys, n_values, n_pairs)
        return
    world = AssociativeRecall(n_keys, n_values, n_pairs)
    batch = world.sample(8, rng(seed))
    assert batch.keys.shape == batch.values.shape == (8, n_pairs)
    assert batch.keys.min() >= 0
    assert batch.keys.max() < n_keys
    assert batch.values.min() >= 0
    assert batch.values.max() < n_values
    assert all(len(set(row)) == n_pairs for row in batch.keys.tolist())
    assert all(len(set(row)) == n_pairs for row in batch.values.tolist())
    beside = batch.keys == batch.query[:, None]
    assert (beside.sum(1) == 1).all()
    assert torch.equal(batch.values[beside], batch.target)
    tokens = world.tokens(batch)
    assert torch.equal(tokens[:, 0:-1:2], batch.keys)
    assert torch.equal(tokens[:, 1::2] - n_keys, batch.values)
    assert torch.equal(tokens[:, -1], batch.query)
    assert tokens.max() < world.vocab_size


def test_the_seed_decides():
    world = AssociativeRecall()
    same, other = world.sample(4, rng(3)), world.sample(4, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(world.sample(4, rng(3)), same, strict=True))
    assert not torch.equal(same.keys, other.keys)


def test_recall_levels_are_what_such_guessers_reach():
    world = AssociativeRecall()
    batch = world.sample(MANY, rng())
    for answer in (0, 7, 15):
        assert near(batch.target == answer, world.chance)
    assert near(most_frequent(batch.values, world.n_values) == batch.target, world.unbound_ceiling)
    # The place tells nothing either.
    assert near(batch.values[:, 0] == batch.target, 1 / 8)


def test_default_levels():
    assert AssociativeRecall().chance == 1 / 16
    assert AssociativeRecall().unbound_ceiling == 1 / 8
    assert TwoRelations().chance == 1 / 121


def test_two_relations_asks_about_what_it_showed():
    world = TwoRelations()
    batch = world.sample(500, rng())
    assert batch.keys.shape == batch.values.shape == (500, world.length)
    assert torch.equal(batch.keys[:, :8].sort(1).values, torch.arange(8).expand(500, 8))
    assert (batch.keys[:, 8] == 8).all()
    assert (batch.values[:, 9] == 11).all()
    assert torch.equal(batch.previous, batch.values[:, 8])
    beside = batch.keys[:, :8] == batch.keys[:, 9:]
    assert torch.equal(batch.bound, batch.values[:, :8][beside])
    assert batch.values[:, :9].max() < 11


def test_two_relations_levels_are_what_such_guessers_reach():
    world = TwoRelations()
    batch = world.sample(MANY, rng())
    guess = most_frequent(batch.values[:, :8], 11)
    assert near((batch.previous == 3) & (batch.bound == 4), world.chance)
    assert near(batch.bound == 4, 1 / 11)  # its other answer is right
    assert near(batch.previous == 4, 1 / 11)
    assert near(guess == batch.bound, world.unbound_ceiling)


def test_answers_to_two_relations_are_independent():
    batch = TwoRelations(n_values=3).sample(MANY, rng())
    for a, b in itertools.product(range(3), repeat=2):
        assert near((batch.previous == a) & (batch.bound == b), 1 / 9)
