"""Small random changes to images, so that a model learns what they show rather than their pixels."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

# The largest changes at strength 1. There is no flip: it would turn a left arrow into a right one.
_ANGLE = 10.0  # degrees
_SCALE = 0.15  # of the size
_SHIFT = 0.06  # of the side
_GREY = 0.35  # 1 would be quite grey


def augment(
    images: UInt8[Tensor, "batch 3 size size"], generator: torch.Generator, strength: float = 1.0
) -> Float[Tensor, "batch 3 size size"]:
    """Rotate, scale, shift and partly desaturate every image by its own random amounts; newly exposed areas are white.

    Rotation, scale and shift are uniform within plus or minus `strength` times 10 degrees, 15 % and 6 % of the side;
    desaturation is uniform from 0 to `strength` times 35 %. All randomness comes from `generator`, five numbers per
    image.

    Returns:
        The images, with values from 0 to 1.

    Raises:
        ValueError: If the strength is not from 0 to 2.
    """
    if not 0 <= strength <= 2:
        raise ValueError(f"the strength is a number from 0 (no change) to 2, not {strength}")
    draws = torch.rand(5, len(images), generator=generator, device=generator.device).to(images.device)
    angle, scale, right, down = (2 * draws[:4] - 1) * strength
    return transform(
        V.to_dtype(images, torch.float32, scale=True),
        angle=angle * _ANGLE,
        scale=1 + scale * _SCALE,
        shift=torch.stack([right, down], dim=1) * _SHIFT,
        grey=draws[4] * strength * _GREY,
    )


def transform(
    images: Float[Tensor, "batch 3 size size"],
    angle: Float[Tensor, " batch"],
    scale: Float[Tensor, " batch"],
    shift: Float[Tensor, "batch 2"],
    grey: Float[Tensor, " batch"],
) -> Float[Tensor, "batch 3 size size"]:
    """Rotate images clockwise by degrees, scale, then shift them (x and y, in sides), and partly desaturate them.

    This equals torchvision's `affine` and `adjust_saturation`, but each image has its own amounts; those take one
    amount for a whole batch.
    """
    # The warp asks for every pixel of the result where it came from: the inverse of turn, scale and shift, in the
    # coordinates of affine_grid, in which a side is 2 long.
    turn = angle * (math.pi / 180)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    inverse = torch.stack([cos, sin, -sin, cos], dim=1).unflatten(1, (2, 2))
    came_from = torch.cat([inverse, -2 * inverse @ shift[:, :, None]], dim=2)
    grid = F.affine_grid(came_from, list(images.shape), align_corners=False)
    # Of the ink, 1 - image: the warp brings in zeros, and torchvision's weights for grey do not quite add up to 1, so
    # that white paper stays exactly white only as zeros.
    ink = F.grid_sample(V.invert(images), grid, align_corners=False)
    return V.invert(ink.lerp(V.rgb_to_grayscale(ink, num_output_channels=3), grey[:, None, None, None]))
