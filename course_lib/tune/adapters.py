"""Adapters: small networks inside a frozen model, each with a residual connection (Houlsby et al. 2019)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, CrossAttentionBlock
from course_lib.nn.storage import at_least_float32
from course_lib.tune.frozen import begin_tuning, check_tunable

STD = 1e-2  # of the initial weights, which are cut off at twice that: Houlsby et al. 2019, section 3.6


class Adapted(nn.Module):
    """A frozen layer with an adapter: h + W_up gelu(W_down h + b) + c, where h is the output of `layer`.

    The bottleneck W_down h has `width` numbers. The weights start so small that the output is nearly h.

    Source: Houlsby et al. 2019, section 2.1 and figure 2.
    """

    def __init__(self, layer: nn.Module, d_model: int, width: int) -> None:
        super().__init__()
        self.layer = layer
        weight = next(layer.parameters())
        dtype = at_least_float32(weight.dtype)  # lower precision would lose small updates
        self.down = nn.Linear(d_model, width, dtype=dtype, device=weight.device)
        self.up = nn.Linear(width, d_model, dtype=dtype, device=weight.device)
        for linear in (self.down, self.up):
            nn.init.trunc_normal_(linear.weight, std=STD, a=-2 * STD, b=2 * STD)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_model"]:
        """Apply the frozen layer and the adapter; the result has the dtype of the layer's output."""
        h = self.layer(x)  # *batch d_model
        bottleneck = F.gelu(self.down(h.to(self.down.weight.dtype)))  # *batch width
        return h + self.up(bottleneck).to(h.dtype)  # *batch d_model


def add_adapters(model: nn.Module, width: int) -> nn.Module:
    """Freeze the model and put an adapter after every attention layer and feed-forward network, in place.

    Adapters come before the residual connection of the block. Each maps d_model numbers to `width` and back, with
    2 width d_model + width + d_model parameters. The norms of the blocks are trained too, as in the paper.

    Args:
        model: A model built from the blocks of `course_lib.nn.block`.
        width: The number of units in the bottleneck.

    Returns:
        The same model.

    Raises:
        ValueError: If width is below 1, the model has no such blocks, or it is tuned already or quantized.
    """
    if width < 1:
        raise ValueError(f"width={width} must be at least 1")
    check_tunable(model)
    blocks = [block for block in model.modules() if isinstance(block, Block | CrossAttentionBlock)]
    if not blocks:
        raise ValueError(f"{type(model).__name__} has no blocks to put adapters in")
    begin_tuning(model, "adapters", width=width)
    for block in blocks:
        d_model = block.attention.qkv.in_features
        attentions = [name for name, part in block.named_children() if isinstance(part, MultiHeadAttention)]
        for place in [*(f"{name}.out" for name in attentions), "feed_forward"]:
            block.set_submodule(place, Adapted(block.get_submodule(place), d_model, width))
        for name, part in block.named_children():
            if "norm" in name:
                part.requires_grad_(True)
    return model
