"""LoRA: each frozen matrix gets a trained low-rank update, a product of two thin matrices (Hu et al. 2021)."""

import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.moe import MoE
from course_lib.nn.storage import at_least_float32, device_of
from course_lib.tune.frozen import begin_tuning, check_tunable, find_target, linear_layers, refuse_tied, tuned_parts


class LoRA(nn.Module):
    """A linear layer with LoRA: y = W0 x + b + (alpha / rank) B A x, where only A and B are trained.

    W0 and b belong to the frozen layer `base`. A is initialised from N(0, 1 / d_in) (in peft uniformly from
    -1 / sqrt(d_in) to 1 / sqrt(d_in), a third of that variance) and B with zeros, so that y is unchanged at first.

    Ordinary LoRA has one pair of matrices: rows={"all": slice(0, d_out)}. But the layer `qkv` of attention computes
    queries, keys and values at once, and the paper gives the queries and the values a pair each. Such a layer has
    rows={"q": slice(0, d), "v": slice(2 * d, 3 * d)}, and the pairs are stacked into one product:

        B A x  =  [ B_q   0  ]  [ A_q ]  x      the rows of the queries
                  [  0    0  ]  [ A_v ]         the rows of the keys, which stay as they are
                  [  0   B_v ]                  the rows of the values

    Args:
        base: The frozen layer.
        rank: The rank of each pair of matrices A and B.
        alpha: The update is scaled by alpha / rank.
        rows: For each pair, by a name for it, the rows of W0 that it changes.

    Source: Hu et al. 2021, equation 3.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, rows: Mapping[str, slice]) -> None:
        super().__init__()
        self.base = base
        self.rank, self.alpha, self.scaling, self.rows = rank, alpha, alpha / rank, dict(rows)
        d_in, device = base.in_features, base.weight.device
        std = 1 / math.sqrt(d_in)
        dtype = at_least_float32(base.weight.dtype)  # lower precision would lose small updates
        # One A and one B for each pair; of ordinary LoRA, which is a stack of one, exactly the two of the paper.
        a = {part: std * torch.randn(rank, d_in, dtype=dtype, device=device) for part in rows}
        b = {part: torch.zeros(of.stop - of.start, rank, dtype=dtype, device=device) for part, of in rows.items()}
        self.lora_A, self.lora_B = nn.ParameterDict(a), nn.ParameterDict(b)

    @property
    def bias(self) -> Tensor | None:
        """The bias of the frozen layer."""
        return self.base.bias

    @property
    def weight(self) -> Float[Tensor, "d_out d_in"]:
        """The merged matrix W0 + (alpha / rank) B A; cross-attention uses parts of it."""
        a, b = self.stacked()
        return (self.base.weight + self.scaling * b @ a).to(self.base.weight.dtype)

    def stacked(
        self, parts: Iterable[str] | None = None
    ) -> tuple[Float[Tensor, "ranks d_in"], Float[Tensor, "d_out ranks"]]:
        """Stack several pairs into one: A under A, and B beside B, with zeros outside the rows of a pair.

        Args:
            parts: The names of the pairs; None for all.
        """
        parts = list(self.rows if parts is None else parts)
        padding = {part: (0, 0, self.rows[part].start, self.base.out_features - self.rows[part].stop) for part in parts}
        b = [F.pad(self.lora_B[part], padding[part]) for part in parts]
        return torch.cat([self.lora_A[part] for part in parts]), torch.cat(b, dim=1)

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Compute W0 x + b + (alpha / rank) B A x; products run in the dtype of x, or in that of autocast."""
        a, b = self.stacked()
        hidden = F.linear(x, a.to(x.dtype))  # A x: (*batch, ranks)
        update = F.linear(hidden, (self.scaling * b).to(x.dtype))  # (alpha / rank) B A x: (*batch, d_out)
        return self.base(x) + update


def add_lora(
    model: nn.Module, rank: int, alpha: float, target_modules: str | Collection[str] = ("q", "v")
) -> nn.Module:
    """Freeze the model, add LoRA to the linear layers named by `target_modules`, in place, and return the model.

    To tune a part of a model, pass that part, and freeze the rest.

    Args:
        model: Any module.
        rank: The rank of A and B.
        alpha: The update is scaled by alpha / rank.
        target_modules: The ends of names of linear layers, such as "out", "feed_forward.up" or
            "blocks.0.attention.out". For the stacked matrix of attention: "q", "k" and "v", each with a pair of its
            own, or "qkv" with one pair for all three. The default is the paper's choice among the matrices of attention
            (section 7.1; in table 5 all four of them do as well).

    Raises:
        ValueError: If rank is below 1, alpha is not above 0, a target is missing from the model or names the experts of
            a mixture, "qkv" is named together with one of its parts, or the model is tuned already or quantized.
        ModelError: If a matrix is shared by two layers.
    """
    if isinstance(target_modules, str):
        target_modules = (target_modules,)
    rows = _rows_of_targets(model, rank, alpha, target_modules)
    begin_tuning(model, "lora", rank=int(rank), alpha=alpha, target_modules=sorted(target_modules))
    layers = linear_layers(model)
    for name, rows_of_pairs in rows.items():
        model.set_submodule(name, LoRA(layers[name], int(rank), alpha, rows_of_pairs))
    return model


def merge_lora(model: nn.Module) -> None:
    """Replace each LoRA by a plain linear layer with the weights W0 + (alpha / rank) B A, which has no extra cost.

    The sum has the dtype of W0: in bfloat16, changes of less than 2^-9 of a weight are lost. The model then has its
    original architecture again, and can be saved, quantized, or tuned again. It stays frozen until
    `model.requires_grad_(True)`.

    The LoRAs with their W0 are kept in `model.kept_loras`, so that `unmerge_lora` restores them bit for bit. Until then
    these matrices take twice the memory.

    Raises:
        ValueError: If the model has no LoRA.
    """
    loras = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoRA)}
    if not loras:
        raise ValueError("the model has no LoRA to merge")
    for name, lora in loras.items():
        # On the device "meta" a layer takes no memory: its weight is replaced at once.
        merged = nn.Linear(lora.base.in_features, lora.base.out_features, bias=False, device="meta")
        merged.weight = nn.Parameter(lora.weight.detach(), requires_grad=False)  # W0 + (alpha / rank) B A
        merged.bias = lora.base.bias
        model.set_submodule(name, merged)
    tunings = tuned_parts(model)
    vars(model)["kept_loras"] = loras, tunings  # a plain attribute, in no state_dict: see begin_tuning
    for name in tunings:
        vars(model.get_submodule(name))["tuning"] = None


def unmerge_lora(model: nn.Module) -> None:
    """Undo `merge_lora`, bit for bit; whatever was trained in these layers since is lost.

    Raises:
        ValueError: If the model is not merged, or was tuned or quantized since.
    """
    if tuned_parts(model) or not hasattr(model, "kept_loras"):
        raise ValueError("there is no merged LoRA to take out of the model again")
    loras, tunings = vars(model).pop("kept_loras")
    for name, tuning in tunings.items():
        vars(model.get_submodule(name))["tuning"] = tuning
    for name, lora in loras.items():
        model.set_submodule(name, lora.to(device_of(model.get_submodule(name))))  # the model may have moved since


class LoRASite(NamedTuple):
    """A place for a pair of matrices A and B: a linear layer, or some of its rows."""

    layer: str
    part: str
    rows: slice


def lora_sites(model: nn.Module) -> dict[str, LoRASite]:
    """Return all that `target_modules` can name, by full name: linear layers, and attention's "q", "k" and "v"."""
    sites = {
        name: LoRASite(name, name.rpartition(".")[2], slice(0, layer.out_features))
        for name, layer in linear_layers(model).items()
    }
    for name, module in model.named_modules():
        if isinstance(module, MultiHeadAttention):
            prefix = f"{name}." if name else ""
            start = 0
            for part, size in zip("qkv", module.qkv_sizes, strict=True):
                sites[prefix + part] = LoRASite(f"{prefix}qkv", part, slice(start, start + size))
                start += size
    return sites


def _rows_of_targets(
    model: nn.Module, rank: int, alpha: float, target_modules: Collection[str]
) -> dict[str, dict[str, slice]]:
    """Return the rows of each pair of each layer that the targets name, and raise the errors of `add_lora`."""
    numbers = isinstance(rank, Real) and isinstance(alpha, Real)
    if not numbers or rank < 1 or rank % 1 or not 0 < alpha < math.inf or not target_modules:
        raise ValueError(
            f"rank={rank!r} must be a whole number of at least 1, alpha={alpha!r} above 0, and "
            f"target_modules={target_modules!r} not empty"
        )
    check_tunable(model)
    sites = lora_sites(model)
    chosen: dict[str, dict[str, slice]] = {}
    for target in target_modules:
        _refuse_experts(model, target)
        for name in find_target(target, sites):
            layer, part, rows = sites[name]
            chosen.setdefault(layer, {})[part] = rows
    refuse_tied(model, chosen)
    for layer, parts in chosen.items():
        if len(parts) > 1 and "qkv" in parts:
            raise ValueError(
                f'"qkv" has queries, keys and values of {layer} in it already; name it or its parts, not both'
            )
    return chosen


def _refuse_experts(model: nn.Module, target: str) -> None:
    for name, module in model.named_modules():
        if isinstance(module, MoE):
            for part in ("gate", "up", "down"):
                if f".{name}.{part}".endswith(f".{target}"):
                    raise ValueError(
                        f"{name} is a mixture of experts, whose {part} LoRA does not support; leave it out"
                    )
