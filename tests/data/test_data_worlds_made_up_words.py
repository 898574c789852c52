"""The world with a known gold reward: its probabilities, its reward and its readers, against other ways to count."""

import itertools
import math

import pytest
import torch

from course_lib.data.worlds.made_up_words import MadeUpWords


def every(world):
    return torch.tensor(list(itertools.product(range(world.vocab_size), repeat=world.length)))


def log_probability(world, words):
    return world.start[words[:, 0]].log() + world.next[words[:, :-1], words[:, 1:]].log().sum(dim=1)


def test_samples_are_as_likely_as_the_model_of_letters_says():
    """Mean surprise of the samples against the entropy of all words, in nats; its error is about 0.005."""
    world = MadeUpWords(length=3)
    log_p = log_probability(world, every(world)).double()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    entropy = -(log_p.exp() * log_p).sum().item()
    drawn = world.sample(20_000, torch.Generator().manual_seed(0))
    assert -log_probability(world, drawn).mean().item() == pytest.approx(entropy, abs=0.03)


def test_the_gold_reward_of_words():
    world = MadeUpWords()
    words = ["banelido", "bdkalmns", "aeioaeio", "bdkbdkbd", "bdkaekbd"]
    ids = torch.tensor([[world.letters.index(letter) for letter in word] for word in words])
    assert world.gold_reward(ids).tolist() == [4, 1, 8 - 3 * 7, 0, 2 - 3]
    assert world.text(ids) == words
    assert world.gold_reward(ids[:, :3]).tolist() == [1, 0, 3 - 3 * 2, 0, 0]


@pytest.mark.parametrize(("length", "penalty"), [(4, 3.0), (3, 1.0)])
def test_the_best_reward_is_the_highest_of_all_words(length, penalty):
    world = MadeUpWords(length=length, penalty=penalty)
    assert world.gold_reward(every(world)).max().item() == pytest.approx(world.best)


def test_readers_are_those_of_bradley_and_terry():
    """One vowel against none: the first is preferred with sigma(1); 5 standard errors of 20,000 draws are 0.016."""
    world = MadeUpWords()
    n = 20_000
    none = torch.full((n, 8), 5)
    one = none.clone()
    one[:, 3] = 0
    share = world.prefers(one, none, torch.Generator().manual_seed(0)).float().mean().item()
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=0.016)


@pytest.mark.parametrize("wrong", [{"p_vowel": 0.0}, {"p_double": 1.0}, {"length": 0}, {"penalty": 0.5}])
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must lie between|length=0 must be|penalty=0.5 must be"):
        MadeUpWords(**wrong)
