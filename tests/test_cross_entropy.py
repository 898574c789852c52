"""The loss that finds its gradient on the way forward, against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.nn.kernels import cross_entropy as module
from course_lib.nn.kernels.cross_entropy import cross_entropy_sum


def both(logits, targets):
    """Value and gradient, ours and torch's in float64, for the mean."""
    found = []
    for function, x in (
        (cross_entropy_sum, logits.clone()),
        (lambda x, t: F.cross_entropy(x, t, reduction="sum"), logits.double()),
    ):
        x.requires_grad_()
        total = function(x, targets)
        (total / 3).backward()
        found.append((total.detach(), x.grad))
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9), st.integers(1, 20), st.integers(1, 64), st.sampled_from([0.1, 30.0]), st.integers(0, 2**31))
def test_value_and_gradient_are_those_of_torch(rows, classes, piece, size, seed):
    torch.manual_seed(seed)
    logits, targets = torch.randn(rows, classes) * size, torch.randint(classes, (rows,))
    targets[torch.rand(rows) < 0.3] = -100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)  # so that there are several pieces, and a last one that is shorter
        (ours, gradient), (theirs, expected) = both(logits, targets)
    # Sums of up to 20 terms in float32; a probability is exact to a few units in the last place of 1.
    assert ours == pytest.approx(theirs.item(), rel=1e-5, abs=1e-5)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_loses_no_more_than_its_rounding():
    logits, targets = (4 * torch.randn(200, 50)).bfloat16(), torch.randint(50, (200,))
    (ours, gradient), (theirs, expected) = both(logits, targets)
    assert ours.dtype == torch.float32
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    assert gradient.dtype == torch.bfloat16
    # What is kept, the scale, and their product are rounded, each by at most 2^-9 of the number.
    torch.testing.assert_close(gradient.double(), expected, rtol=3 * 2**-9 + 1e-4, atol=1e-9)


def test_rows_that_do_not_count_give_nothing_whatever_they_hold():
    logits = torch.randn(3, 4)
    logits[1] = torch.nan
    logits.requires_grad_()
    cross_entropy_sum(logits, torch.tensor([0, -100, 2])).backward()
    assert (logits.grad[1] == 0).all()
    assert logits.grad.isfinite().all()


def test_without_a_gradient_it_is_the_same_number():
    logits, targets = torch.randn(5, 7), torch.tensor([1, -100, 6, 0, 2])
    assert cross_entropy_sum(logits, targets) == pytest.approx(
        cross_entropy_sum(logits.requires_grad_(), targets).item(), rel=1e-6
    )
    with torch.no_grad():
        assert not cross_entropy_sum(logits, targets).requires_grad


def test_a_second_derivative_is_refused_not_wrong():
    logits = torch.randn(2, 3, requires_grad=True)
    (first,) = torch.autograd.grad(cross_entropy_sum(logits, torch.tensor([0, 1])), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.square().sum().backward()


def test_a_target_that_is_no_class_is_an_error():
    with pytest.raises(IndexError, match="out of bounds"):
        cross_entropy_sum(torch.randn(2, 3, requires_grad=True), torch.tensor([0, 3]))
