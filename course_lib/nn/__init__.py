"""The parts of a transformer. Each knows nothing of the model that it ends up in."""

from course_lib.nn.attention import (
    MultiHeadAttention,
    causal_mask,
    padding_mask,
    prefix_mask,
)
from course_lib.nn.block import Block, CrossAttentionBlock, PostNormBlock
from course_lib.nn.cache import KVCache
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import FeedForward, GatedFeedForward
from course_lib.nn.moe import MoE
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import (
    ALiBi,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    T5RelativeBias,
    rotate,
)

__all__ = [
    "ALiBi",
    "Block",
    "CrossAttentionBlock",
    "FeedForward",
    "GatedFeedForward",
    "KVCache",
    "LearnedPositions",
    "MoE",
    "MultiHeadAttention",
    "PostNormBlock",
    "RMSNorm",
    "RotaryPositions",
    "SinusoidalPositions",
    "T5RelativeBias",
    "causal_mask",
    "embed_tokens",
    "padding_mask",
    "prefix_mask",
    "rotate",
]
