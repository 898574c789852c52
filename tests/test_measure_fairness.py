"""Predicted risks: against the logistic regression that two normal distributions have, and counted by hand."""

import torch

from course_lib.measure.fairness import calibration_curve, predicted_risk


def test_risks_of_two_normal_distributions():
    """With means 0 and 2, variance 1 and a base rate of one half, the log-odds are 2 x - 2."""
    generator = torch.Generator().manual_seed(0)
    outcome = (torch.rand(20_000, generator=generator) < 0.5).float()
    x = 2 * outcome + torch.randn(20_000, generator=generator)
    risk = predicted_risk([x], outcome)
    torch.testing.assert_close(risk, (2 * x - 2).sigmoid(), atol=0.03, rtol=0)
    assert abs(risk.mean() - outcome.mean()) < 1e-4  # the intercept's gradient is 0
    means, shares = calibration_curve(risk, outcome)
    torch.testing.assert_close(means, shares, atol=0.05, rtol=0)


def test_parts_by_hand():
    risk = torch.tensor([0.1, 0.15, 0.5, 0.9, 1.0])
    means, shares = calibration_curve(risk, torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))
    torch.testing.assert_close(means, torch.tensor([0.125, torch.nan, 0.5, torch.nan, 0.95]), equal_nan=True)
    torch.testing.assert_close(shares, torch.tensor([0.5, torch.nan, 1.0, torch.nan, 0.5]), equal_nan=True)
