"""Votes and evaluations, against lists of all cases and what must come out on average."""

import itertools
import math

import pytest
import torch

from course_lib.measure.votes import auroc, coverage, evaluations, vote_counts


@pytest.mark.parametrize(("votes", "answers"), [(1, 3), (4, 2), (3, 4), (5, 5)])
def test_every_outcome_once(votes, answers):
    rows = vote_counts(votes, answers).long().tolist()
    listed = [row for row in itertools.product(range(votes + 1), repeat=answers) if sum(row) == votes]
    assert sorted(map(tuple, rows)) == sorted(listed)
    assert len(rows) == math.comb(votes + answers - 1, answers - 1)


def test_auroc_by_hand():
    right = torch.tensor([True, True, False, False])
    assert auroc(torch.tensor([0.9, 0.5, 0.5, 0.1]), right) == 3.5 / 4
    assert auroc(torch.ones(4), right) == 0.5
    assert auroc(torch.tensor([1.0, 2, 3, 4]), right) == 0


def test_an_evaluation_repeated():
    p = torch.tensor([0.2, 0.8])
    shares = evaluations(p, 40, 5, 4000, torch.Generator().manual_seed(0))
    assert shares.shape == (4000, 40)
    assert set((5 * shares).unique().tolist()) <= set(map(float, range(6)))
    assert abs(shares.mean() - 0.5) < 0.005
    # between 0.09 and within 0.16: (0.09 + 0.16 / 5) / 40
    assert shares.mean(1).std() == pytest.approx(math.sqrt((0.09 + 0.16 / 5) / 40), rel=0.05)


def test_coverage_counts_intervals():
    means = torch.tensor([0.5, 0.6, 0.9])
    assert coverage(0.5, means, torch.full((3,), 0.1)) == pytest.approx(2 / 3)
