"""The fused form of LoRA's layer: the numbers of `LoRA.plain` in fewer passes over memory, with its own backward."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class LowRankLinear(torch.autograd.Function):
    """x W^T + bias + (x A^T) B^T, added up in place, with no gradient for what is frozen.

    `benchmarks/lora_step.py` measures it against the plain form. There is no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        """Shapes: x (*batch, d_in), weight (d_out, d_in), bias (d_out,), a (ranks, d_in), b (d_out, ranks)."""
        hidden, y = F.linear(x, a), F.linear(x, weight, bias)  # (*batch, ranks), (*batch, d_out)
        y.view(-1, len(weight)).addmm_(hidden.view(-1, len(a)), b.t())
        ctx.save_for_backward(x, weight, a, b, hidden)
        return y

    @staticmethod
    @once_differentiable
    # torch declares it for any number of gradients; there is one, as there is one output.
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        """The gradients of x, weight, bias, a and b; None for those that nobody asked for."""
        x, weight, a, b, hidden = ctx.saved_tensors
        grad_output, rows, hidden = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (grad_output, x, hidden))
        grad_hidden = grad_output @ b  # (rows, ranks)
        grad_x = (grad_output @ weight).addmm_(grad_hidden, a).view_as(x) if ctx.needs_input_grad[0] else None
        grad_weight = grad_output.t() @ rows if ctx.needs_input_grad[1] else None  # only where somebody thawed it
        grad_bias = grad_output.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, grad_hidden.t() @ rows, grad_output.t() @ hidden
