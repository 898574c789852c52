"""The fast form of `moe.mix_experts`: tokens are sorted by expert, so that each expert is one matrix product."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

# In bfloat16 the rows of an expert are padded to a multiple of this. On a CPU, oneDNN compiles a kernel for every new
# number of rows, which takes ten times as long as the product itself.
ROWS = 16


def grouped_experts(
    x: Float[Tensor, "tokens d_model"],
    gate: Float[Tensor, "n_experts d_ff d_model"],
    up: Float[Tensor, "n_experts d_ff d_model"],
    down: Float[Tensor, "n_experts d_model d_ff"],
    experts: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
) -> Float[Tensor, "tokens d_model"]:
    """Compute the weighted sum of the outputs of each token's experts, as `moe.mix_experts` does.

    Arguments and result are those of `moe.mix_experts`. Products run in the dtype of x, or that of autocast. Each
    token's gradient is gathered from the rows of its choices, not added up by rows that write to the same token, so
    that a GPU gives the same bits on every run.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    gate, up, down = gate.to(dtype), up.to(dtype), down.to(dtype)
    order = sort_by_expert(experts, len(gate), ROWS if dtype == torch.bfloat16 else 1)
    rows = _Dispatch.apply(x.to(dtype), order.row_of_choice, order.token_of_row)  # rows d_model
    hidden = F.silu(_grouped_linear(rows, gate, order.ends)) * _grouped_linear(rows, up, order.ends)  # rows d_ff
    rows = _grouped_linear(hidden, down, order.ends)  # rows d_model
    return _Combine.apply(rows, weights.to(dtype), order.row_of_choice, order.token_of_row)


class ExpertOrder(NamedTuple):
    """The tokens' choices in rows sorted by expert, with empty rows as padding after each expert's rows.

    Attributes:
        row_of_choice: The row of each of a token's choices.
        token_of_row: The token of each row; the number of tokens if the row is empty.
        ends: The end of each expert's rows (exclusive).
    """

    row_of_choice: Int[Tensor, "tokens top_k"]
    token_of_row: Int[Tensor, " rows"]
    ends: Int[Tensor, " n_experts"]


def sort_by_expert(experts: Int[Tensor, "tokens top_k"], n_experts: int, multiple: int) -> ExpertOrder:
    """Sort the choices by expert, and give each expert a multiple of `multiple` rows.

    The total number of rows does not depend on the choices, so the CPU need not wait for the GPU to know it.

    Args:
        experts: The experts that each token chose.
        n_experts: The number of experts.
        multiple: Each expert's rows are padded to a multiple of this; 1 for no empty rows.
    """
    n, top_k = experts.shape
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    counts = tokens_per_expert(experts, n_experts)
    padded = (counts + multiple - 1) // multiple * multiple
    ends = padded.cumsum(0)
    ends[-1] = total = (n * top_k + n_experts * (multiple - 1)) // multiple * multiple
    # In sorted order an expert's choices are adjacent; they are shifted by the empty rows of the experts before it.
    empty_before = (padded - counts).cumsum(0) - (padded - counts)  # n_experts
    rows = torch.arange(n * top_k, device=flat.device) + empty_before[flat[order]]
    row_of_choice = torch.empty_like(flat).scatter_(0, order, rows).view(n, top_k)
    token_of_row = flat.new_full((total,), n).scatter_(0, rows, order // top_k)
    return ExpertOrder(row_of_choice, token_of_row, ends.int())


def tokens_per_expert(experts: Int[Tensor, "tokens top_k"], n_experts: int) -> Int[Tensor, " n_experts"]:
    """Count the tokens that chose each expert; unlike with bincount, the CPU does not wait for the GPU."""
    zeros = torch.zeros(n_experts, dtype=experts.dtype, device=experts.device)
    return zeros.scatter_add_(0, experts.flatten(), torch.ones_like(experts).flatten())


def _grouped_linear(
    rows: Float[Tensor, "rows d_in"], weight: Float[Tensor, "n_experts d_out d_in"], ends: Int[Tensor, " n_experts"]
) -> Float[Tensor, "rows d_out"]:
    """Multiply the rows up to ends[0] by the first expert's matrix, those up to ends[1] by the second's, and so on."""
    if _grouped_mm_takes(rows, weight):
        return F.grouped_mm(rows, weight.mT, offs=ends)
    sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
    parts = zip(rows.split(sizes), weight.unbind(), strict=True)
    return torch.cat([F.linear(part, matrix) for part, matrix in parts])


def _grouped_mm_takes(rows: Tensor, weight: Tensor) -> bool:
    """Return whether torch's grouped product can be used.

    It is new in torch 2.10, needs rows of a multiple of 16 bytes and, if compiled, takes bfloat16 only.
    """
    compiling = torch.compiler.is_compiling()
    return (
        hasattr(F, "grouped_mm")
        and weight.dtype in ((torch.bfloat16,) if compiling else (torch.bfloat16, torch.float16, torch.float32))
        and not any(width * weight.element_size() % 16 for width in weight.shape[1:])
        and (weight.device.type == "cpu" or (weight.is_cuda and torch.cuda.get_device_capability() >= (8, 0)))
    )


class _Dispatch(torch.autograd.Function):
    """Copy each token to the rows of its choices; empty rows are zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, row_of_choice: Tensor, token_of_row: Tensor) -> Tensor:
        ctx.save_for_backward(row_of_choice)
        return F.pad(x, (0, 0, 0, 1)).index_select(0, token_of_row)

    @staticmethod
    # torch declares backward for any number of gradients; here there is one, since there is one output.
    def backward(ctx: Any, grad_rows: Tensor) -> Any:  # type: ignore[override]
        (row_of_choice,) = ctx.saved_tensors
        return F.embedding_bag(row_of_choice, grad_rows, mode="sum"), None, None  # the fastest way to sum chosen rows


class _Combine(torch.autograd.Function):
    """Compute the weighted sum of the rows of each token's choices."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, row_of_choice: Tensor, token_of_row: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights, row_of_choice, token_of_row)
        return F.embedding_bag(row_of_choice, rows, mode="sum", per_sample_weights=weights)

    @staticmethod
    # torch declares backward for any number of gradients; here there is one, since there is one output.
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        rows, weights, row_of_choice, token_of_row = ctx.saved_tensors
        choices = row_of_choice.flatten()
        weight_of_row = weights.new_zeros(len(token_of_row), 1).index_copy_(0, choices, weights.view(-1, 1))
        grad_rows = F.pad(grad_output, (0, 0, 0, 1)).index_select(0, token_of_row) * weight_of_row
        chosen = rows.index_select(0, choices).view(*row_of_choice.shape, rows.shape[1])  # tokens top_k d_model
        return grad_rows, (chosen @ grad_output[..., None]).squeeze(-1), None, None
