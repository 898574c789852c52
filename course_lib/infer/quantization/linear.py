"""Linear layers with weights in 8 or 4 bits, multiplied without being converted to float first."""

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Float, Int
from torch import Tensor, nn

from course_lib.infer.quantization.rounding import QuantizedWeight, dequantize, pack, unpack

MAX_KERNEL_ROWS = 32  # for more rows, as when a prompt is read, a product of integers in bfloat16 is faster,
FAST_BFLOAT16 = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # on some CPUs
KERNEL_GROUPS = (32, 64, 128, 256)  # the group sizes for which torch has a 4-bit kernel


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights and one scale per row; the output has the dtype of x.

    On a CPU it uses torch's kernel for few rows: x is rounded to bfloat16, products are summed in float32, and the sum
    is rounded to bfloat16. Elsewhere the weights are converted to float in each forward pass.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, rounded: QuantizedWeight, bias: Float[Tensor, " out"] | None = None) -> None:
        super().__init__()
        self.shape = rounded.codes.shape
        self.register_buffer("codes", rounded.codes)
        self.register_buffer("scale", rounded.scale)
        self.register_buffer("bias", bias)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Compute the output, as nn.Linear does."""
        # The kernel reads 16 numbers at a time, even past the end of a row, and has no gradient.
        if x.device.type != "cpu" or x.shape[-1] % 16 or x.requires_grad:
            return _as_floats(x, self.quantized_weight(), self.bias)
        rows = _rows(x)
        if len(rows) > MAX_KERNEL_ROWS and FAST_BFLOAT16:
            y = F.linear(rows, self.codes.to(torch.bfloat16)).float() * self.scale[:, 0]
        else:
            y = torch._weight_int8pack_mm(rows, self.codes, self.scale[:, 0])
        return _like(y, x, self.bias)

    def quantized_weight(self) -> QuantizedWeight:
        """Return the codes and scales of the weights."""
        return QuantizedWeight(self.codes, self.scale)


class Int8Embedding(nn.Embedding):
    """An embedding that reads its rows from an Int8Linear, so that it stays tied to the output layer."""

    def __init__(self, table: Int8Linear) -> None:
        n, d_model = table.shape
        super().__init__(n, d_model, device="meta")
        self.register_parameter("weight", None)  # the table replaces it
        self.table = table

    def forward(self, ids: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch d_model"]:
        """Look up the rows, as nn.Embedding does, in float32."""
        return F.embedding(ids, self.table.codes) * F.embedding(ids, self.table.scale).float()


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights, two per byte, and a scale and an offset for each group of inputs in a row.

    On a CPU it uses torch's kernel, which computes as described for `Int8Linear` and has its own order of the bytes.
    """

    packed: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, rounded: QuantizedWeight, bias: Float[Tensor, " out"] | None = None) -> None:
        super().__init__()
        codes, scale, offset = rounded
        assert offset is not None
        self.shape = codes.shape
        self.group = codes.shape[1] // scale.shape[1]
        self.for_kernel = codes.device.type == "cpu" and len(codes) % 16 == 0 and self.group in KERNEL_GROUPS
        packed = pack(codes)
        scale = torch.stack((scale, offset), dim=2)
        if self.for_kernel:
            packed = torch._convert_weight_to_int4pack_for_cpu((codes + 8).to(torch.int32), 1)
            scale = scale.transpose(0, 1).contiguous()
        self.register_buffer("packed", packed, persistent=False)  # not saved: the byte order depends on the machine
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Compute the output, as nn.Linear does.

        Raises:
            ValueError: If x is on another device than the one on which the layer was made.
        """
        if self.for_kernel and self.packed.device.type != "cpu":
            raise ValueError("weights of 4 bits cannot be moved; move the model first, and then quantize it")
        if not self.for_kernel or x.requires_grad:
            return _as_floats(x, self.quantized_weight(), self.bias)
        return _like(self._product(_rows(x), self.scale), x, self.bias)

    def _product(self, rows: BFloat16[Tensor, "rows in"], scale: BFloat16[Tensor, "groups out 2"]) -> Tensor:
        return torch._weight_int4pack_mm_for_cpu(rows, self.packed, self.group, scale)

    def quantized_weight(self) -> QuantizedWeight:
        """Return the codes, scales and offsets of the weights."""
        if not self.for_kernel:
            return QuantizedWeight(unpack(self.packed), *self.scale.unbind(dim=2))
        one = torch.zeros_like(self.scale)
        one[..., 0] = 1
        # The order of the bytes depends on the processor, so they are read through an exact product with the identity.
        codes = self._product(torch.eye(self.shape[1], dtype=torch.bfloat16), one).t().to(torch.int8)
        return QuantizedWeight(codes.contiguous(), *self.scale.transpose(0, 1).unbind(dim=2))


def _rows(x: Float[Tensor, "*batch in"]) -> BFloat16[Tensor, "rows in"]:
    """Return x as the kernels need it: in bfloat16, in memory of its own, which begins at an aligned address."""
    return torch.empty(x.numel() // x.shape[-1], x.shape[-1], dtype=torch.bfloat16).copy_(x.reshape(-1, x.shape[-1]))


def _like(
    y: Float[Tensor, "rows out"], x: Float[Tensor, "*batch in"], bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "*batch out"]:
    y = y.to(x.dtype).view(*x.shape[:-1], y.shape[-1])
    return y if bias is None else y + bias.to(x.dtype)


def _as_floats(
    x: Float[Tensor, "*batch in"], rounded: QuantizedWeight, bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "*batch out"]:
    return F.linear(x, dequantize(rounded).to(x.dtype), None if bias is None else bias.to(x.dtype))
