"""LoRA: beside a frozen matrix a product of two thin ones, which alone is trained (Hu et al. 2021)."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.moe import MoE
from course_lib.tune.frozen import freeze, tuned_parts
from course_lib.tune.kernels import LowRankLinear


class LoRA(nn.Module):
    """y = W0 x + b + (alpha / rank) B A x, where W0 and b are those of `base`, and only A and B are trained.

    A starts with draws from N(0, 1 / d_in) (in peft evenly from -1 / sqrt(d_in) to 1 / sqrt(d_in), a third of that
    variance) and B with zeros, so that y is at first what it was.

    Args:
        base: the frozen layer.
        rank: of each pair of matrices A and B.
        alpha: see above.
        rows: the outputs that each pair adds to, by the pair's name. One layer can have several pairs, such as one for
            the queries and one for the values of a stacked matrix; each has the full rank.

    Source: Hu et al. 2021, equation 3.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, rows: Mapping[str, slice]) -> None:
        super().__init__()
        self.base = base
        self.in_features, self.out_features = base.in_features, base.out_features
        self.rank, self.alpha, self.scale, self.rows = rank, alpha, alpha / rank, dict(rows)
        # What is trained is float32 at least: steps as small as those of an optimizer are lost in bfloat16.
        options: Any = {
            "dtype": torch.promote_types(base.weight.dtype, torch.float32),
            "device": base.weight.device,
        }
        std = 1 / math.sqrt(base.in_features)
        self.a = nn.ParameterDict({part: std * torch.randn(rank, base.in_features, **options) for part in rows})
        self.b = nn.ParameterDict({part: torch.zeros(of.stop - of.start, rank, **options) for part, of in rows.items()})

    @property
    def bias(self) -> Tensor | None:
        """The bias of the frozen layer."""
        return self.base.bias

    @property
    def weight(self) -> Float[Tensor, "d_out d_in"]:
        """W0 + (alpha / rank) B A: the merged matrix, of which cross-attention multiplies by a part."""
        a, b = self.stacked()
        return (self.base.weight + self.scale * b @ a).to(self.base.weight.dtype)

    def stacked(
        self, parts: Iterable[str] | None = None
    ) -> tuple[Float[Tensor, "ranks d_in"], Float[Tensor, "d_out ranks"]]:
        """Several pairs, None for all, as one: A under A, and B beside B, with zeros outside the rows of a pair."""
        parts = list(self.rows if parts is None else parts)
        places = [(self.b[part], self.rows[part]) for part in parts]
        b = [F.pad(matrix, (0, 0, rows.start, self.out_features - rows.stop)) for matrix, rows in places]
        return torch.cat([self.a[part] for part in parts]), torch.cat(b, dim=1)

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """The numbers of `plain`, in the fused form that is made for training: see tune/kernels.py."""
        return LowRankLinear.apply(*self._operands(x))

    def plain(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """W0 x + b + (alpha / rank) B A x, as the paper has it; products run in the dtype of x, or that of autocast."""
        x, weight, bias, a, b = self._operands(x)
        hidden = F.linear(x, a)  # A x: (*batch, ranks)
        update = F.linear(hidden, b)  # (alpha / rank) B A x: (*batch, d_out)
        return F.linear(x, weight, bias) + update

    def _operands(self, x: Tensor) -> tuple[Any, ...]:
        """x, W0, its bias, A and (alpha / rank) B, all in one dtype."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        a, b = self.stacked()
        operands = (x, self.base.weight, self.base.bias, a, self.scale * b)
        return tuple(tensor if tensor is None else tensor.to(dtype) for tensor in operands)


def add_lora(model: nn.Module, rank: int, alpha: float, targets: str | Collection[str] = ("q", "v")) -> nn.Module:
    """Freeze the model and give the linear layers called `targets` a LoRA, in place; the model comes back.

    For a part of a model, pass that part, and freeze the rest.

    Args:
        model: any module.
        rank: of the pairs A and B.
        alpha: the update is scaled by alpha / rank.
        targets: the ends of names of linear layers, such as "out", "feed_forward.up" or "blocks.0.attention.out". Of
            the stacked matrix of attention: "q", "k" and "v", each with a pair of its own, or "qkv" with one pair for
            all three. The default is the paper's choice among the matrices of attention (section 7.1; in table 5 all
            four of them do as well).

    Raises:
        ValueError: for a rank that is none, a target that the model does not have, experts of a mixture, a matrix that
            two layers share, "qkv" beside one of its parts, and a model that is tuned already, or quantized.
    """
    if isinstance(targets, str):
        targets = (targets,)
    if int(rank) != rank or rank < 1 or not 0 < alpha < math.inf or not targets:
        raise ValueError(
            f"rank={rank} must be a whole number of at least 1, alpha={alpha} above 0, and targets={targets} not empty"
        )
    rank = int(rank)
    found = linear_sites(model)
    chosen: dict[str, dict[str, slice]] = {}
    for target in targets:
        _refuse_experts(model, target)
        ends = {name: site for name, site in found.items() if f".{name}".endswith(f".{target}")}
        if not ends:
            known = ", ".join(sorted({name.rpartition(".")[2] for name in found}))
            raise ValueError(f'there is no linear layer "{target}" in the model; there are {known}')
        for module, part, rows in ends.values():
            chosen.setdefault(module, {})[part] = rows
    shared = tied_layers(model)
    for module, parts in chosen.items():
        if module in shared:
            raise ValueError(f"{module} is the embedding of the tokens too, and cannot change alone; leave it out")
        if len(parts) > 1 and "qkv" in parts:
            raise ValueError(f'"qkv" has queries, keys and values of {module} in it already; take it or them')
    freeze(model, "lora", rank=rank, alpha=alpha, targets=sorted(targets))
    for module, parts in chosen.items():
        base: Any = model.get_submodule(module)
        model.set_submodule(module, LoRA(base, rank, alpha, parts))
    return model


def merge_lora(model: nn.Module) -> None:
    """Replace each LoRA by a plain linear layer with the weights W0 + (alpha / rank) B A, which costs nothing extra.

    The sum has the dtype of W0: in bfloat16, changes of less than 2^-9 of a weight are lost. The model is then one of
    its family again: it can be saved, quantized, or tuned anew. It stays frozen; model.requires_grad_(True) thaws it.

    The LoRAs with their W0 are kept in `model.kept_loras`, so that `unmerge_lora` gives back the very bits. Until then
    these matrices take their memory twice.

    Raises:
        ValueError: for a model without LoRA.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoRA)}
    if not layers:
        raise ValueError("the model has no LoRA to merge")
    for name, layer in layers.items():
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        plain.weight = nn.Parameter(layer.weight.detach(), requires_grad=False)
        plain.bias = layer.base.bias
        model.set_submodule(name, plain)
    noted: Any = model
    noted.kept_loras = layers, tuned_parts(model)
    for name in tuned_parts(model):
        noted.get_submodule(name).tuning = None


def unmerge_lora(model: nn.Module) -> None:
    """Undo `merge_lora`, to the bit; what was trained in these layers since is lost.

    Raises:
        ValueError: for a model that is not merged, or was tuned or quantized since.
    """
    if tuned_parts(model) or not hasattr(model, "kept_loras"):
        raise ValueError("there is no merged LoRA to take out of the model again")
    noted: Any = model
    layers, tuned = noted.kept_loras
    for name, by in tuned.items():
        noted.get_submodule(name).tuning = by
    for name, layer in layers.items():
        device = model.get_submodule(name).weight.device
        model.set_submodule(name, layer.to(device))
    del noted.kept_loras


def linear_sites(model: nn.Module) -> dict[str, tuple[str, str, slice]]:
    """All that `targets` can name: for each full name the linear layer, the part of it, and the rows of that part."""
    found: dict[str, tuple[str, str, slice]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found[name] = name, name.rpartition(".")[2], slice(0, module.out_features)
        elif isinstance(module, MultiHeadAttention):
            q, k, v = module.qkv_sizes
            dot = f"{name}." if name else ""
            for part, start, stop in (("q", 0, q), ("k", q, q + k), ("v", q + k, q + k + v)):
                found[dot + part] = f"{dot}qkv", part, slice(start, stop)
    return found


def _refuse_experts(model: nn.Module, target: str) -> None:
    for name, module in model.named_modules():
        for part in ("gate", "up", "down") if isinstance(module, MoE) else ():
            if f".{name}.{part}".endswith(f".{target}"):
                raise ValueError(f"{name} is a mixture of experts, whose {part} LoRA does not support; leave it out")


def tied_layers(model: nn.Module) -> set[str]:
    """The linear layers that share their weights with another part, such as an output layer that is the embedding."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name.rpartition(".")[0])
    return {name for names in owners.values() if len(names) > 1 for name in names}
