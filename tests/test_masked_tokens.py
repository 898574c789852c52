"""Masked language modelling: which tokens are chosen, what becomes of them, and what counts."""

import math

import pytest
import torch

from course_lib.models import Bert, BertConfig
from course_lib.train import TrainConfig, train
from course_lib.train.losses import mask_tokens, masked_token_loss

MASK, VOCAB = 50, 53
N = 400_000


def masked(ids, seed=0, **options):
    return mask_tokens(ids, torch.Generator().manual_seed(seed), MASK, VOCAB, **options)


def within(count, n, p):
    """Is a count of n draws of chance p where all but one in three million such counts are: five standard errors?"""
    return abs(count - n * p) <= 5 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_80_10_10(rate):
    ids = torch.full((400, 1000), 7)
    inputs, targets = masked(ids, rate=rate)
    chosen = targets != -100
    n = int(chosen.sum())
    assert within(n, N, rate)
    assert (targets[chosen] == 7).all()
    assert (inputs[~chosen] == 7).all()
    # A token of any kind is put in for 10 %, the mask and the token itself among them.
    assert within(int((inputs[chosen] == MASK).sum()), n, 0.8 + 0.1 / VOCAB)
    assert within(int((inputs[chosen] == 7).sum()), n, 0.1 + 0.1 / VOCAB)
    counts = torch.bincount(inputs[chosen], minlength=VOCAB)
    assert len(counts) == VOCAB
    for token in set(range(VOCAB)) - {7, MASK}:
        assert within(int(counts[token]), n, 0.1 / VOCAB)


def test_each_token_is_chosen_by_itself():
    """Neighbours in a row or a column are chosen together as often as chance has it."""
    _, targets = masked(torch.full((400, 1000), 7))
    chosen = targets != -100
    assert within(int((chosen[:, 1:] & chosen[:, :-1]).sum()), 400 * 999, 0.15**2)
    assert within(int((chosen[1:] & chosen[:-1]).sum()), 399 * 1000, 0.15**2)
    assert within(int((chosen[:, 0]).sum()), 400, 0.15)


def test_special_tokens_are_left_alone():
    ids = torch.randint(VOCAB, (100, 100), generator=torch.Generator().manual_seed(1))
    inputs, targets = masked(ids, special=(0, 5, MASK), rate=1.0)
    special = (ids == 0) | (ids == 5) | (ids == MASK)
    assert (targets[special] == -100).all()
    assert (inputs[special] == ids[special]).all()
    assert (targets[~special] == ids[~special]).all()


def test_nothing_is_changed_in_place_and_the_generator_decides():
    ids = torch.arange(40).reshape(4, 10)
    before = ids.clone()
    first, again, other = masked(ids), masked(ids), masked(ids, seed=1)
    assert torch.equal(ids, before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


def test_rates_at_the_ends():
    ids = torch.full((40, 50), 7)
    inputs, targets = masked(ids, rate=0.0)
    assert torch.equal(inputs, ids)
    assert (targets == -100).all()
    inputs, targets = masked(ids, rate=1.0)
    assert torch.equal(targets, ids)
    assert within(int((inputs == MASK).sum()), 2000, 0.8 + 0.1 / VOCAB)


def test_sentences():
    ids = torch.zeros(1, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"rate=15.0 must be a share, from 0 to 1"):
        masked(ids, rate=15.0)
    with pytest.raises(ValueError, match="mask_id=53 is outside the vocabulary of 53"):
        mask_tokens(ids, torch.Generator(), 53, 53)


def test_the_loss_is_the_mean_over_the_chosen():
    torch.manual_seed(0)
    model = Bert(BertConfig(VOCAB, 10, 16, 1, 2))
    inputs, targets = masked(torch.arange(40).reshape(4, 10), rate=0.3)
    surprise = -model(inputs).log_softmax(-1)
    chosen = [surprise[i, j, targets[i, j]] for i in range(4) for j in range(10) if targets[i, j] != -100]
    assert 0 < len(chosen) < 40
    # A mean of some ten float32 numbers near 4.
    assert masked_token_loss(model, (inputs, targets)).mean.item() == pytest.approx(
        sum(chosen).item() / len(chosen), rel=1e-5
    )
    none = masked_token_loss(model, (inputs, torch.full_like(targets, -100))).mean
    assert none.item() == 0  # and no NaN, where a small batch happens to have nothing to guess
    none.backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


def test_bert_learns_what_only_both_sides_tell():
    """The token in the middle is the sum of its neighbours, modulo 5: one side alone tells nothing about it."""

    def batch(generator):
        ends = torch.randint(5, (64, 2), generator=generator)
        inputs = torch.stack((ends[:, 0], torch.full((64,), 5), ends[:, 1]), dim=1)
        targets = torch.full_like(inputs, -100)
        targets[:, 1] = ends.sum(1) % 5
        return inputs, targets

    torch.manual_seed(0)
    model = Bert(BertConfig(6, 3, 32, 2, 2))
    history = train(model, batch, masked_token_loss, TrainConfig(300, lr=3e-3, warmup_steps=20))
    assert history.loss[0] > 1.2
    assert history.loss[-1] < 0.1  # with one side alone it would stay at ln 5 = 1.61
