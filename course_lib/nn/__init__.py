"""The parts of a transformer. Each knows nothing of the model that it ends up in."""

from course_lib.nn.attention import MultiHeadAttention, attention, causal_mask, padding_mask, prefix_mask
from course_lib.nn.block import Block
from course_lib.nn.feed_forward import FeedForward, SwiGLU
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
    "FeedForward",
    "Learned",
    "MultiHeadAttention",
    "RMSNorm",
    "RotaryTable",
    "Sinusoidal",
    "SwiGLU",
    "T5RelativeBias",
    "alibi_bias",
    "alibi_slopes",
    "attention",
    "causal_mask",
    "padding_mask",
    "prefix_mask",
    "rotate",
    "sinusoidal",
]
