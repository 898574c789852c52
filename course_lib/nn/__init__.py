"""The parts of a transformer. Each knows nothing of the model that it ends up in."""

from course_lib.nn.attention import MultiHeadAttention, attention, causal_mask, padding_mask, prefix_mask
from course_lib.nn.block import Block, run
from course_lib.nn.cache import Cache
from course_lib.nn.embed import embed
from course_lib.nn.feed_forward import FeedForward, GatedFeedForward
from course_lib.nn.moe import (
    MoE,
    Routing,
    active_parameters,
    balance,
    load_balancing_loss,
    loads,
    moe_layers,
    route,
    router_z_loss,
    routings,
    update_bias,
)
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import (
    ALiBi,
    Learned,
    RotaryTable,
    Sinusoidal,
    T5RelativeBias,
    alibi_bias,
    alibi_slopes,
    rotate,
    sinusoidal,
)

__all__ = [
    "ALiBi",
    "Block",
    "Cache",
    "FeedForward",
    "GatedFeedForward",
    "Learned",
    "MoE",
    "MultiHeadAttention",
    "RMSNorm",
    "RotaryTable",
    "Routing",
    "Sinusoidal",
    "T5RelativeBias",
    "active_parameters",
    "alibi_bias",
    "alibi_slopes",
    "attention",
    "balance",
    "causal_mask",
    "embed",
    "load_balancing_loss",
    "loads",
    "moe_layers",
    "padding_mask",
    "prefix_mask",
    "rotate",
    "route",
    "router_z_loss",
    "routings",
    "run",
    "sinusoidal",
    "update_bias",
]
