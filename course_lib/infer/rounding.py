"""Rounding weights to few bits, with an error that is known beforehand."""

import torch
from jaxtyping import BFloat16, Float, Int8, UInt8
from torch import Tensor


def rounded(
    weight: Float[Tensor, "out in"], bits: int, group: int
) -> tuple[Int8[Tensor, "out in"], BFloat16[Tensor, "out groups"]]:
    """Whole numbers and scales such that |weight - scale * number| <= scale / 2, for each `group` of inputs in a row.

    The largest of a group becomes 2^(bits - 1) - 1: the scale is that quotient, rounded up to bfloat16, so it is at
    most 1/128 larger. Raises ValueError for a group that does not divide the inputs, or weights that are not finite.
    Source: absmax quantisation of Dettmers et al. 2022, "LLM.int8()", section 2, with a constant for each row or group.
    """
    if group < 1 or weight.shape[1] % group:
        raise ValueError(f"group={group} does not divide {weight.shape[1]} inputs; pass a number that does")
    groups = weight.detach().float().unflatten(1, (-1, group))
    largest = groups.abs().amax(dim=2)
    if not largest.isfinite().all():
        raise ValueError("the weights are not finite; was the model trained to its end?")
    exact = (largest / (2 ** (bits - 1) - 1)).clamp(min=torch.finfo(torch.bfloat16).tiny)
    scale = exact.to(torch.bfloat16)
    up = (scale.view(torch.int16) + 1).view(
        torch.bfloat16
    )  # the next larger number: of positive ones, bits are in order
    scale = torch.where(scale.float() < exact, up, scale)
    return (groups / scale.float()[..., None]).round().to(torch.int8).flatten(1), scale


def pack(numbers: Int8[Tensor, "out in"]) -> UInt8[Tensor, "out half"]:
    """Numbers from -8 to 7, two to a byte: the even ones in the low half."""
    low, high = (numbers + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(dim=2)
    return low | high << 4


def unpack(packed: UInt8[Tensor, "out half"]) -> Int8[Tensor, "out in"]:
    """What `pack` was given."""
    return torch.stack((packed & 15, packed >> 4), dim=2).flatten(1).to(torch.int8) - 8
