"""The fast form of `moe.mix_experts`: tokens sorted by expert, so that each expert is one product."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

# In bfloat16 the rows of an expert are filled up to a multiple of this. On a processor, oneDNN compiles a kernel for
# every new number of rows, which takes ten times as long as the product itself.
ROWS = 16


def grouped_experts(
    x: Float[Tensor, "tokens d_model"],
    gate: Float[Tensor, "n_experts d_ff d_model"],
    up: Float[Tensor, "n_experts d_ff d_model"],
    down: Float[Tensor, "n_experts d_model d_ff"],
    experts: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
) -> Float[Tensor, "tokens d_model"]:
    """The sum of the outputs of each token's experts, weighted; each expert is down(silu(gate(x)) * up(x)).

    Products run in the dtype of x, or that of autocast. The gradient of a token is gathered, not added up in the rows
    that tokens share, so that a GPU gives the same bits on every run.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    gate, up, down = gate.to(dtype), up.to(dtype), down.to(dtype)
    places, tokens, ends = arrange(experts, len(gate), ROWS if dtype == torch.bfloat16 else 1)
    rows = _Spread.apply(x.to(dtype), places, tokens)
    rows = F.silu(_grouped_linear(rows, gate, ends)) * _grouped_linear(rows, up, ends)
    rows = _grouped_linear(rows, down, ends)
    return _Combine.apply(rows, weights.to(dtype), places, tokens)


def arrange(
    experts: Int[Tensor, "tokens top_k"], n_experts: int, multiple: int
) -> tuple[Int[Tensor, "tokens top_k"], Int[Tensor, " rows"], Int[Tensor, " n_experts"]]:
    """A row for each choice, sorted by expert, with empty rows between: as many in all, whatever was chosen.

    multiple: each expert has so many rows, or twice so many, and so on; 1 for no empty ones.
    places: the row of each choice. tokens: the token of each row, or the number of tokens where the row is empty.
    ends: where each expert's rows end.
    """
    n, top_k = experts.shape
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    counts = choices(experts, n_experts)
    filled = (counts + multiple - 1) // multiple * multiple
    ends = filled.cumsum(0)
    ends[-1] = total = (n * top_k + n_experts * (multiple - 1)) // multiple * multiple
    # In sorted order an expert's choices stand side by side; they move behind the empty rows of the experts before.
    moved = (filled - counts).cumsum(0) - (filled - counts)
    rows = torch.arange(n * top_k, device=flat.device) + moved[flat[order]]
    places = torch.empty_like(flat).scatter_(0, order, rows).view(n, top_k)
    tokens = flat.new_full((total,), n).scatter_(0, rows, order // top_k)
    return places, tokens, ends.int()


def choices(experts: Int[Tensor, "tokens top_k"], n_experts: int) -> Int[Tensor, " n_experts"]:
    """How often each expert was chosen; unlike with bincount, nobody waits for the GPU."""
    zeros = torch.zeros(n_experts, dtype=experts.dtype, device=experts.device)
    return zeros.scatter_add_(0, experts.flatten(), torch.ones_like(experts).flatten())


def _grouped_linear(
    rows: Float[Tensor, "rows d_in"], weight: Float[Tensor, "n_experts d_out d_in"], ends: Int[Tensor, " n_experts"]
) -> Float[Tensor, "rows d_out"]:
    """The rows up to ends[0] times the first expert's matrix, from there to ends[1] times the second's, and so on."""
    if _grouped_mm_takes(rows, weight):
        return F.grouped_mm(rows, weight.mT, offs=ends)
    sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
    parts = zip(rows.split(sizes), weight.unbind(), strict=True)
    return torch.cat([F.linear(part, matrix) for part, matrix in parts])


def _grouped_mm_takes(rows: Tensor, weight: Tensor) -> bool:
    """torch's grouped product: new in 2.10, for rows of whole 16 bytes and, compiled, for bfloat16 only."""
    compiling = torch.compiler.is_compiling()
    return (
        hasattr(F, "grouped_mm")
        and weight.dtype in ((torch.bfloat16,) if compiling else (torch.bfloat16, torch.float16, torch.float32))
        and not any(width * weight.element_size() % 16 for width in weight.shape[1:])
        and (weight.device.type == "cpu" or (weight.is_cuda and torch.cuda.get_device_capability() >= (8, 0)))
    )


class _Spread(torch.autograd.Function):
    """Each token in all its rows, and zeros in those that are empty."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return F.pad(x, (0, 0, 0, 1)).index_select(0, tokens)

    @staticmethod
    # torch declares it for any number of gradients; there is one, as there is one output.
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        (places,) = ctx.saved_tensors
        return F.embedding_bag(places, gradient, mode="sum"), None, None  # the quickest way to sum chosen rows


class _Combine(torch.autograd.Function):
    """The weighted sum of each token's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights, places, tokens)
        return F.embedding_bag(places, rows, mode="sum", per_sample_weights=weights)

    @staticmethod
    # torch declares it for any number of gradients; there is one, as there is one output.
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        rows, weights, places, tokens = ctx.saved_tensors
        weight_of_row = weights.new_zeros(len(tokens), 1).index_copy_(0, places.flatten(), weights.view(-1, 1))
        of_rows = F.pad(gradient, (0, 0, 0, 1)).index_select(0, tokens) * weight_of_row
        of_weights = rows.index_select(0, places.flatten()).view(*places.shape, -1) @ gradient[..., None]
        return of_rows, of_weights.squeeze(-1), None, None
