"""Quantization: weights are rounded to few bits, each by at most half a scale."""

from typing import NamedTuple

import torch
from jaxtyping import BFloat16, Float, Int8, UInt8
from torch import Tensor


class QuantizedWeight(NamedTuple):
    """Weights as codes * scale + offset, for each group of inputs in a row.

    Attributes:
        codes: Integers from -2^(bits - 1) to 2^(bits - 1) - 1.
        scale: The difference between the weights of two neighbouring codes.
        offset: The weight of code 0; None for 0, which then stays exact.
    """

    codes: Int8[Tensor, "out in"]
    scale: BFloat16[Tensor, "out groups"]
    offset: BFloat16[Tensor, "out groups"] | None = None


def quantize_symmetric(weight: Float[Tensor, "out in"], bits: int = 8) -> QuantizedWeight:
    """Quantize with one scale per row, which maps its largest weight to 2^(bits - 1) - 1 (absmax quantization).

    The scale is rounded to bfloat16, by 1/512 at most. With up to 8 bits the largest weight is then at most 127.25
    scales, which still rounds to 127, within half a scale.

    Raises:
        ValueError: If weights are not finite.

    Source: Dettmers et al. 2022, "LLM.int8()", with a constant for each row.
    """
    weight = _finite(weight)
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = _scale(largest / (2 ** (bits - 1) - 1))
    return QuantizedWeight((weight / scale.float()).round().to(torch.int8), scale)


def quantize_groupwise(weight: Float[Tensor, "out in"], bits: int, group: int) -> QuantizedWeight:
    """Quantize with a scale and an offset for each group of `group` inputs in a row.

    The smallest and the largest weight of a group are near the ends of the range of codes.

    With s = (largest - smallest) / (2^bits - 1) the codes reach half an s farther on both sides. That is more than the
    rounding of s and the offset to bfloat16 takes away, as long as s is at least 1/128 of the offset. The maximum in
    the code ensures that.

    Raises:
        ValueError: If the group does not divide the inputs, or weights are not finite.

    Source: Groups as in Frantar et al. 2022, "GPTQ", but each weight is rounded to the nearest code, by itself.
    """
    if group < 1 or weight.shape[1] % group:
        raise ValueError(f"group={group} does not divide {weight.shape[1]} inputs; pass a number that does")
    weight = _finite(weight).unflatten(1, (-1, group))
    low, high = weight.aminmax(dim=2)
    scale = _scale(torch.maximum((high - low) / (2**bits - 1), torch.maximum(high, -low) / 128))
    offset = ((low + high + scale) / 2).to(torch.bfloat16)  # there is one code more below 0 than above
    codes = (weight - offset.float()[..., None]) / scale.float()[..., None]
    return QuantizedWeight(codes.round().to(torch.int8).flatten(1), scale, offset)


def dequantize(rounded: QuantizedWeight) -> Float[Tensor, "out in"]:
    """Compute the weights that the codes stand for, in float32."""
    codes, scale, offset = rounded
    weight = codes.unflatten(1, (scale.shape[1], -1)) * scale.float()[..., None]
    return (weight if offset is None else weight + offset.float()[..., None]).flatten(1)


def pack(codes: Int8[Tensor, "out in"]) -> UInt8[Tensor, "out half"]:
    """Pack numbers from -8 to 7, two per byte, with the even positions in the low half."""
    low, high = (codes + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(dim=2)
    return low | high << 4


def unpack(packed: UInt8[Tensor, "out half"]) -> Int8[Tensor, "out in"]:
    """Unpack the numbers that `pack` packed."""
    return torch.stack((packed & 15, packed >> 4), dim=2).flatten(1).to(torch.int8) - 8


def _finite(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    weight = weight.detach().float()
    if not weight.isfinite().all():
        raise ValueError("a weight is not finite; was the model trained to its end?")
    return weight


def _scale(exact: Float[Tensor, "out groups"]) -> BFloat16[Tensor, "out groups"]:
    """Round the scale to bfloat16, and up from 0, since weights are divided by it."""
    return exact.to(torch.bfloat16).clamp(min=torch.finfo(torch.bfloat16).tiny)
