"""Reliability diagrams, the expected calibration error, and exact intervals of a proportion."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.measure.calibration import exact_interval, reliability


def tail(k: int, n: int, p: float) -> float:
    """The probability of k successes or fewer."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(("successes", "trials", "confidence"), [(3, 10, 0.95), (1, 40, 0.9), (39, 40, 0.99)])
def test_each_end_leaves_half_of_the_rest_in_its_tail(successes, trials, confidence):
    low, high = exact_interval(successes, trials, confidence)
    assert tail(successes, trials, high) == pytest.approx((1 - confidence) / 2)
    assert 1 - tail(successes - 1, trials, low) == pytest.approx((1 - confidence) / 2)


def test_at_the_ends_and_among_many():
    assert exact_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert exact_interval(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    low, high = exact_interval(2000, 4000)
    assert 0.4843 < low < 0.4846
    assert low + high == pytest.approx(1)
    with pytest.raises(ValueError, match="4 successes out of 3 trials are not a proportion"):
        exact_interval(4, 3)


def test_bins_of_a_worked_case():
    confidence = torch.tensor([0.12, 0.18, 0.71, 0.75, 0.79, 1.0])
    bins = reliability(confidence, torch.tensor([False, True, True, True, False, True]))
    assert bins.count.tolist() == [2, 3, 1]
    assert_close(bins.confidence, torch.tensor([0.15, 0.75, 1.0], dtype=torch.float64))
    assert_close(bins.right, torch.tensor([0.5, 2 / 3, 1.0], dtype=torch.float64))
    assert bins.error == pytest.approx((2 * 0.35 + 3 * (0.75 - 2 / 3)) / 6)
    assert (float(bins.low[1]), float(bins.high[1])) == exact_interval(2, 3)
    assert bins.share(bins.right > 0.6) == pytest.approx(4 / 6)


def test_a_calibrated_answerer_has_an_error_near_zero_and_one_that_is_too_sure_has_not():
    dice = torch.Generator().manual_seed(0)
    confidence = torch.rand(20_000, generator=dice)
    right = torch.rand(20_000, generator=dice) < confidence
    assert reliability(confidence, right).error < 0.015
    assert reliability(confidence.sqrt(), right).error == pytest.approx(2 / 3 - 1 / 2, abs=0.01)


@pytest.mark.parametrize("confidence", [[], [0.5, 1.2], [float("nan")]])
def test_what_is_no_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match="confidences from 0 to 1"):
        reliability(torch.tensor(confidence), torch.zeros(len(confidence), dtype=torch.bool))
