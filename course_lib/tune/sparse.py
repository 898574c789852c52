"""Random sparse tuning: training random entries of each frozen matrix, as a control for the other methods."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.storage import at_least_float32
from course_lib.tune.frozen import begin_tuning, check_tunable, find_target, linear_layers, refuse_tied


class Sparse(nn.Module):
    """A linear layer with a sparse update: y = (W0 + S) x + b, where S has n trained entries at random places.

    The places are drawn once; all other entries are 0. At first all of S is 0, so that y is unchanged. It saves no
    time: W0 + S is computed as a full matrix at every step.
    """

    place: Tensor

    def __init__(self, base: nn.Linear, n: int) -> None:
        super().__init__()
        self.base = base
        weight = base.weight
        if not 1 <= n <= weight.numel():
            raise ValueError(f"n={n} must lie between 1 and the {weight.numel()} entries of the matrix")
        # Drawn on the CPU, so that a seed gives the same places on every device.
        self.register_buffer("place", torch.randperm(weight.numel())[:n].to(weight.device))
        dtype = at_least_float32(weight.dtype)  # lower precision would lose small updates
        self.change = nn.Parameter(torch.zeros(n, dtype=dtype, device=weight.device))

    @property
    def weight(self) -> Float[Tensor, "d_out d_in"]:
        """The matrix W0 + S."""
        weight = self.base.weight
        flat = weight.flatten().to(self.change.dtype).index_add(0, self.place, self.change)
        return flat.view_as(weight).to(weight.dtype)

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Compute (W0 + S) x + b."""
        return F.linear(x, self.weight, self.base.bias)


def add_sparse(model: nn.Module, n: int, target_modules: str | Collection[str]) -> nn.Module:
    """Freeze the model and make `n` entries of the linear layers named by `target_modules` trainable, in place.

    They are divided in proportion to the sizes of the matrices, so that each entry is as likely as any other.

    Args:
        model: Any module.
        n: The number of entries to train, in all layers together.
        target_modules: The ends of names of linear layers, such as "qkv" or "blocks.0.attention.out".

    Returns:
        The same model.

    Raises:
        ValueError: If n is below the number of layers or above that of their entries, a matrix would get no entry, a
            target is missing from the model, or the model is tuned already or quantized.
        ModelError: If a matrix is shared by two layers.
    """
    check_tunable(model)
    target_modules = (target_modules,) if isinstance(target_modules, str) else tuple(target_modules)
    layers = linear_layers(model)
    names = {name for target in target_modules for name in find_target(target, layers)}
    refuse_tied(model, names)
    chosen = {name: layer for name, layer in layers.items() if name in names}
    sizes = [layer.weight.numel() for layer in chosen.values()]
    if not len(sizes) <= n <= sum(sizes):
        raise ValueError(f"n={n} must lie between the number of layers, {len(sizes)}, and their entries, {sum(sizes)}")
    ends = [round(n * sum(sizes[: i + 1]) / sum(sizes)) for i in range(len(sizes))]
    counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if min(counts) < 1:
        raise ValueError(f"n={n} is too few: the smallest of the matrices would get none; take more")
    begin_tuning(model, "sparse", n=n, target_modules=sorted(target_modules))
    for (name, layer), count in zip(chosen.items(), counts, strict=True):
        model.set_submodule(name, Sparse(layer, count))
    return model
