"""Augmentation: torchvision's own functions, but by amounts of its own for every image."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

from course_lib.data.loading import augment as module
from course_lib.data.loading.augment import augment, transform


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def photographs(n=8, size=32):
    return (noise(n, 3, size, size) * 255).to(torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([8, 17, 32]))
def test_equals_torchvision_image_by_image(seed, size):
    images = noise(4, 3, size, size, seed=seed)
    draws = noise(5, 4, seed=seed + 1)
    angle, scale = (draws[0] - 0.5) * 360, 0.5 + draws[1]
    shift, grey = draws[2:4].T - 0.5, draws[4]
    changed = transform(images, angle, scale, shift, grey)
    for i, image in enumerate(images):
        ink = V.affine(
            V.invert(image),
            angle=angle[i].item(),
            translate=(shift[i] * size).tolist(),
            scale=scale[i].item(),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        expected = V.invert(V.adjust_saturation(ink, 1 - grey[i].item()))
        # A place is wrong by a few roundings of its coordinate (below 2 sides, in pixels), and neighbouring pixels of
        # noise differ by up to 1; the place counts twice, for x and y.
        torch.testing.assert_close(changed[i], expected, rtol=0, atol=16 * 2 * size * torch.finfo().eps)


def test_deterministic_and_from_its_generator_alone():
    images = photographs()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    one = augment(images, seeded())
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1], states[2]) == (random.getstate(), np.random.get_state()[1].tolist())
    torch.manual_seed(5)
    assert torch.equal(one, augment(images, seeded()))
    assert not torch.equal(one, augment(images, seeded(1)))
    generator = seeded()
    augment(images, generator)
    assert not torch.equal(one, augment(images, generator))  # the next batch is changed in another way
    assert torch.equal(images, photographs())


def test_range_type_and_shape():
    changed = augment(photographs(50), seeded(), strength=2.0)
    assert changed.dtype == torch.float32
    assert changed.shape == (50, 3, 32, 32)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_strength_zero_changes_nothing():
    images = photographs()
    # The place of a pixel is computed, hence rounded, as in the comparison with torchvision.
    tolerance = 16 * 2 * 32 * torch.finfo().eps
    torch.testing.assert_close(augment(images, seeded(), strength=0.0), images / 255, rtol=0, atol=tolerance)


def test_white_stays_white_and_what_comes_in_is_white():
    page = torch.full((100, 3, 32, 32), 255, dtype=torch.uint8)
    assert (augment(page, seeded(), strength=2.0) == 1).all()
    dark = torch.zeros(100, 3, 32, 32, dtype=torch.uint8)
    changed = augment(dark, seeded(), strength=1.0)
    corners = changed[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 0.5).float().mean() > 0.3  # turned or shifted away
    assert changed[:, :, 12:20, 12:20].max() < 1e-4  # black ink made grey: torchvision's weights add up to 0.9999


def test_every_image_is_changed_in_its_own_way():
    changed = augment(photographs(1).expand(20, -1, -1, -1), seeded())
    assert len({image.numpy().tobytes() for image in changed}) == 20


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_amounts_are_as_documented(monkeypatch, strength):
    amounts = {}
    monkeypatch.setattr(module, "transform", lambda images, **given: amounts.update(given) or images)
    augment(photographs(1, 8).expand(4000, -1, -1, -1), seeded(), strength)
    bounds = {
        "angle": (-10 * strength, 10 * strength),
        "scale": (1 - 0.15 * strength, 1 + 0.15 * strength),
        "shift": (-0.06 * strength, 0.06 * strength),
        "grey": (0, 0.35 * strength),
    }
    assert amounts.keys() == bounds.keys()
    for name, (low, high) in bounds.items():
        drawn, width = amounts[name].reshape(4000, -1), high - low
        assert drawn.min() >= low - 1e-6
        assert drawn.max() <= high + 1e-6
        # Uniform: the mean within 5 standard errors, and both ends reached.
        assert ((drawn.mean(0) - (low + high) / 2).abs() < 5 * width / (12 * 4000) ** 0.5).all()
        assert (drawn.amax(0) - drawn.amin(0)).min() > 0.99 * width
    columns = torch.cat([amounts[name].reshape(4000, -1) for name in bounds], dim=1)
    correlation = torch.corrcoef(columns.T) - torch.eye(5)
    assert correlation.abs().max() < 5 / 4000**0.5  # independent of one another


def test_directions():
    """A dot to the right of the middle: shifts move it right and down, a quarter turn clockwise takes it below."""
    image = torch.ones(1, 3, 33, 33)
    image[:, :, 16, 26] = 0
    still, none = torch.zeros(1), torch.ones(1)

    def place(angle=0.0, scale=1.0, shift=(0.0, 0.0)):
        moved = transform(image, still + angle, none * scale, torch.tensor([shift]), still)
        return divmod(moved[0, 0].argmin().item(), 33)

    assert place() == (16, 26)
    assert place(shift=(3 / 33, 0)) == (16, 29)
    assert place(shift=(0, 5 / 33)) == (21, 26)
    assert place(angle=90) == (26, 16)
    assert place(scale=0.5) == (16, 21)


def test_strength_out_of_range():
    for strength in (-0.1, 2.1, float("nan")):
        with pytest.raises(ValueError, match=r"the strength is a number from 0 \(no change\) to 2"):
            augment(photographs(), seeded(), strength)
