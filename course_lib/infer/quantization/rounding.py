"""Quantization: weights are rounded to few bits, each by at most half a scale."""

from typing import NamedTuple

import torch
from jaxtyping import BFloat16, Float, Int8, UInt8
from torch import Tensor


class QuantizedWeight(NamedTuple):
    """Weights as codes * scale + offset, for each group of inputs in a row.

    Attributes:
        codes: whole numbers from -2^(bits - 1) to 2^(bits - 1) - 1.
        scale: what one step of a code is worth.
        offset: None where zero has to stay zero.
    """

    codes: Int8[Tensor, "out in"]
    scale: BFloat16[Tensor, "out groups"]
    offset: BFloat16[Tensor, "out groups"] | None = None


def quantize_symmetric(weight: Float[Tensor, "out in"], bits: int = 8) -> QuantizedWeight:
    """Quantize with one scale a row, by which its largest weight becomes 2^(bits - 1) - 1 (absmax quantization).

    The scale is rounded to bfloat16, by 1/512 at most. With up to 8 bits the largest weight then comes to at most
    127.25 scales, which is rounded to 127 like all that is nearer than half.

    Raises:
        ValueError: for weights that are not finite.

    Source: Dettmers et al. 2022, "LLM.int8()", with a constant for each row.
    """
    weight = _finite(weight)
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = _scale(largest / (2 ** (bits - 1) - 1))
    return QuantizedWeight((weight / scale.float()).round().to(torch.int8), scale)


def quantize_groupwise(weight: Float[Tensor, "out in"], bits: int, group: int) -> QuantizedWeight:
    """Quantize group-wise: every `group` of inputs in a row has a scale and an offset.

    The smallest and the largest weight of a group are near the ends of the codes.

    With s = (largest - smallest) / (2^bits - 1) the codes reach half an s farther on both sides, which is more than
    rounding s and the offset to bfloat16 takes away, as long as s is at least 1/128 of the offset: hence the maximum.

    Raises:
        ValueError: for a group that does not divide the inputs, and for weights that are not finite.

    Source: groups as in Frantar et al. 2022, "GPTQ", but each weight is rounded to the nearest code, by itself.
    """
    if group < 1 or weight.shape[1] % group:
        raise ValueError(f"group={group} does not divide {weight.shape[1]} inputs; pass a number that does")
    weight = _finite(weight).unflatten(1, (-1, group))
    low, high = weight.aminmax(dim=2)
    scale = _scale(torch.maximum((high - low) / (2**bits - 1), torch.maximum(high, -low) / 128))
    offset = ((low + high + scale) / 2).to(torch.bfloat16)  # one code more below it than above
    codes = (weight - offset.float()[..., None]) / scale.float()[..., None]
    return QuantizedWeight(codes.round().to(torch.int8).flatten(1), scale, offset)


def dequantize(rounded: QuantizedWeight) -> Float[Tensor, "out in"]:
    """Compute the weights that the codes stand for, in float32."""
    codes, scale, offset = rounded
    weight = codes.unflatten(1, (scale.shape[1], -1)) * scale.float()[..., None]
    return (weight if offset is None else weight + offset.float()[..., None]).flatten(1)


def pack(codes: Int8[Tensor, "out in"]) -> UInt8[Tensor, "out half"]:
    """Pack numbers from -8 to 7 two to a byte, the even ones in the low half."""
    low, high = (codes + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(dim=2)
    return low | high << 4


def unpack(packed: UInt8[Tensor, "out half"]) -> Int8[Tensor, "out in"]:
    """Undo `pack`."""
    return torch.stack((packed & 15, packed >> 4), dim=2).flatten(1).to(torch.int8) - 8


def _finite(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    weight = weight.detach().float()
    if not weight.isfinite().all():
        raise ValueError("a weight is not finite; was the model trained to its end?")
    return weight


def _scale(exact: Float[Tensor, "out groups"]) -> BFloat16[Tensor, "out groups"]:
    """QuantizedWeight to bfloat16, and never 0, by which one cannot divide."""
    return exact.to(torch.bfloat16).clamp(min=torch.finfo(torch.bfloat16).tiny)
