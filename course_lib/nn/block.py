"""One layer of a transformer (pre-norm or post-norm, or with cross-attention), and its initialisation."""

import math

from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.nn.attention import AppendToCache, MultiHeadAttention
from course_lib.nn.feed_forward import FeedForward, GatedFeedForward
from course_lib.nn.moe import MoE
from course_lib.nn.positions import Rotary


class Block(nn.Module):
    """The block of GPT-2, Llama and BERT: attention, then a feed-forward network, each added to the residual stream.

    Its parts are passed in, so that one block serves every model family.

    Args:
        attention: The attention layer.
        feed_forward: The feed-forward network.
        norm1: The norm of attention.
        norm2: The norm of the feed-forward network.
        norm_first: Normalise the input of each part, as GPT-2 and Llama do (pre-norm), so that the residual stream
            itself is never normalised. Otherwise normalise each sum, as the original transformer and BERT do
            (post-norm).

    Source: Vaswani et al. 2017, section 3.1; Xiong et al. 2020, figure 1.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
        *,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        self.norm1 = norm1
        self.attention = attention
        self.norm2 = norm2
        self.feed_forward = feed_forward
        self.norm_first = norm_first

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        rotary: Rotary | None = None,
        head_mask: Float[Tensor, " heads"] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        causal: bool = False,
        cache: AppendToCache | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Apply the layer; the arguments are those of MultiHeadAttention.forward."""

        def attend(x: Tensor) -> Tensor:
            return self.attention(x, mask, bias, rotary, head_mask, attention_weights, causal=causal, cache=cache)

        if self.norm_first:
            x = x + attend(self.norm1(x))
            x = x + self.feed_forward(self.norm2(x))
        else:
            x = self.norm1(x + attend(x))
            x = self.norm2(x + self.feed_forward(x))
        return x


class CrossAttentionBlock(nn.Module):
    """The block of a decoder that reads an encoder's output: a pre-norm block with cross-attention in the middle.

    Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feed_forward: nn.Module,
        norm1: nn.Module,
        cross_norm: nn.Module,
        norm2: nn.Module,
    ) -> None:
        super().__init__()
        self.norm1 = norm1
        self.attention = attention
        self.cross_norm = cross_norm
        self.cross_attention = cross_attention
        self.norm2 = norm2
        self.feed_forward = feed_forward

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        memory: Float[Tensor, "batch memory d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        memory_mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Apply the layer.

        Args:
            x: The vectors of the decoder's tokens.
            memory: The output of the encoder.
            mask: True where a token of x may attend to another.
            bias: Added to the scores of self-attention.
            attention_weights: A list to which the attention weights are appended, first of self-attention, then of
                cross-attention.
            memory_mask: True where a token of x may attend to a token of the memory.
            causal: Also hide later tokens of x.
        """
        x = x + self.attention(self.norm1(x), mask, bias, attention_weights=attention_weights, causal=causal)
        x = x + self.cross_attention(
            self.cross_norm(x), memory_mask, attention_weights=attention_weights, memory=memory
        )
        x = x + self.feed_forward(self.norm2(x))
        return x


def init_weights(model: nn.Module, n_branches: int) -> None:
    """Initialise all linear layers so that the variance of activations stays the same from the first to the last.

    The branches that are added to the residual stream (attention, feed-forward networks) end in layers whose initial
    weights are smaller, by 1 / sqrt(n_branches), so that all branches together add about as much as one. Biases start
    at 0; norms are left as they are.

    Args:
        model: The blocks, or a model that contains them.
        n_branches: The number of branches in all: two per block, or three with cross-attention.

    Source: Radford et al. 2019, section 2.3.
    """
    last_of_branch = {part.out for part in model.modules() if isinstance(part, MultiHeadAttention)}
    last_of_branch |= {part.down for part in model.modules() if isinstance(part, FeedForward | GatedFeedForward)}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            scale = 1 / math.sqrt(n_branches) if module in last_of_branch else 1.0
            nn.init.normal_(module.weight, std=scale / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, MoE):  # its other matrices are initialised already
            nn.init.normal_(module.down, std=1 / math.sqrt(n_branches * module.down.shape[-1]))
