"""ViT: what it sees of an image, where it starts, and its sentences."""

import math

import pytest
import torch
import torch.nn.functional as F

from course_lib.interop import from_pretrained, save_pretrained
from course_lib.models import ViT, ViTConfig
from course_lib.models.vit import CHOICES, check_images


def tiny(**changes):
    torch.manual_seed(0)
    return ViT(ViTConfig(**{"image_size": 8, "patch_size": 4, "d_model": 12, "n_layers": 2, "n_heads": 3} | changes))


def test_patches_are_places_row_by_row():
    """A change in one place reaches the patch of that place alone, before any block mixes them."""
    model = tiny()
    x = torch.randn(1, 3, 8, 8)
    before = model.features(x, 0)
    for place, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        other = x.clone()
        other[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
        changed = (model.features(other, 0) != before).any(dim=-1)[0]
        assert changed.tolist() == [False, *(i == place for i in range(4))]


def test_without_positions_a_image_is_a_bag_of_patches():
    model = tiny(pool="mean", class_token=False)
    x = torch.randn(1, 3, 8, 8)
    turned = x.roll(4, dims=3)
    assert not torch.allclose(model(x), model(turned), atol=1e-3)
    model.position.weight.data.zero_()
    assert torch.allclose(model(x), model(turned), atol=1e-5)


def test_a_rest_that_fills_no_patch_is_not_looked_at():
    model = tiny(image_size=10)
    x = torch.randn(1, 3, 10, 10)
    other = x.clone()
    other[:, :, 8:] = other[..., 8:] = 0
    assert torch.equal(model(x), model(other))


def test_layers_by_number():
    model = tiny()
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(model.features(x), model.features(x, 2))
    assert torch.equal(model.features(x, -2), model.features(x, 1))
    assert torch.equal(model.features(x, -3), model.features(x, 0))
    assert model.features(x).shape == (2, 5, 12)
    assert torch.equal(model.pooled(model.features(x)), model(x))
    for layer in (3, -4):
        with pytest.raises(ValueError, match=f"no layer {layer}; the model has 0 to 2, .* -1 to -3"):
            model.features(x, layer)


@pytest.mark.parametrize("pool", CHOICES["pool"])
def test_a_new_model_is_undecided_and_keeps_the_scale(pool):
    torch.manual_seed(0)
    model = ViT(ViTConfig(n_classes=100, pool=pool))
    x = torch.randn(64, 3, 32, 32)
    loss = F.cross_entropy(model(x), torch.randint(100, (64,)))
    # Logits of a standard deviation near 0.5 cost half its square over the best without knowledge.
    assert loss.item() == pytest.approx(math.log(100), abs=0.3)
    assert 0.7 < model.features(x, 0)[:, 1:].std() < 1.4
    assert 0.8 < model.features(x, -1)[:, 1:].std() < 2


@pytest.mark.parametrize("change", [{}, {"pool": "mean", "norm_pooled": True, "class_token": False, "pre_norm": True}])
def test_any_vit_can_be_saved(change, tmp_path):
    model = tiny(channels=1, n_classes=3, **change).eval()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == model.config
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"uint8; make them floats from 0 to 1: images\.float\(\) / 255"),
        (
            torch.zeros(3, 8, 8),
            r"shape \(batch, 3, 8, 8\), not \(3, 8, 8\); for one image: image\[None",
        ),
        (torch.zeros(1, 1, 8, 8), "have 1 channels, but the model reads 3$"),
        (torch.zeros(1, 8, 8, 3), r"have 8 channels, but the model reads 3; .* images\.movedim\(-1, 1\)"),
        (torch.zeros(1, 3, 8, 12), "8 by 12 pixels, but the model reads 8 by 8; resize them"),
    ],
)
def test_images_that_do_not_fit(images, match):
    with pytest.raises(ValueError, match=match):
        check_images(images, 3, 8)
    if images.dim() == 4 and images.is_floating_point():
        with pytest.raises(ValueError, match=match):
            tiny()(images)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"patch_size": 9}, "patches of 9 pixels do not fit in images of 8"),
        ({"patch_size": 0}, "patch_size=0 must be a whole number, at least 1"),
        ({"n_classes": -1}, "n_classes=-1 must be a whole number, at least 0"),
        ({"d_model": 13}, "d_model=13 must be a multiple of n_heads=3"),
        ({"pool": "max"}, 'pool="max" is not supported; use one of token, mean'),
        ({"activation": "swiglu"}, 'activation="swiglu" is not supported'),
        ({"class_token": False}, 'use pool="mean" without it'),
    ],
)
def test_what_cannot_be_built(change, match):
    with pytest.raises(ValueError, match=match):
        tiny(**change)
