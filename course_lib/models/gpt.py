"""GPT: one decoder-only language model, which covers GPT-2 (Radford et al. 2019) and Llama (Touvron et al. 2023)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, init_weights
from course_lib.nn.cache import KVCache
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward
from course_lib.nn.moe import MoE
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import ALiBi, LearnedPositions, RotaryPositions, SinusoidalPositions, T5RelativeBias
from course_lib.settings import DERIVED, check_choices, check_counts, check_numbers, set_derived, set_derived_head_dim

POSITIONS: dict[str, Callable[["GPTConfig"], nn.Module]] = {
    "learned": lambda config: LearnedPositions(config.context, config.d_model),
    "sinusoidal": lambda config: SinusoidalPositions(config.d_model),
    "rope": lambda config: RotaryPositions(config.head_dim, config.rope_theta),
    "alibi": lambda config: ALiBi(config.n_heads),
    "t5": lambda config: T5RelativeBias(config.n_heads),
    "none": lambda config: nn.Identity(),
}
CHOICES = {
    "position": tuple(POSITIONS),
    "norm": ("layer", "rms"),
    "activation": (*ACTIVATIONS, "swiglu"),
}
# What makes the blocks Llama's: `GPTConfig(vocab_size, **LLAMA_STYLE)`.
LLAMA_STYLE: dict[str, Any] = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}
# Settings of the mixture of experts; a model without experts keeps their defaults.
MOE_SETTINGS = ("top_k", "norm_topk_prob", "d_shared", "shared_gate", "capacity_factor", "balanced_by_bias")


@dataclass(frozen=True)
class GPTConfig:
    """The configuration of a GPT; the defaults are GPT-2's style, at a size for experiments.

    Attributes:
        vocab_size: The number of tokens in the vocabulary.
        context: The number of tokens that the model is meant for. It is a bound only with learned positions, which
            have no vector for a later token: a longer sequence is an error. With other positions the model computes
            any length, and `context` only guides the code that uses it: `TextGenerator` ends prompt and answer here,
            and recipes train on windows of this length. Beyond the trained length predictions can get worse: RoPE
            rotates keys by angles that the model has never seen, while ALiBi's bias goes on as before (Press et al.
            2021, figure 1).
        d_model: The width of the residual stream.
        n_layers: The number of blocks.
        n_heads: The number of query heads.
        n_kv_heads: The number of key/value heads; n_heads if not given.
        head_dim: The width of a head; d_model / n_heads if not given.
        d_ff: The width of a feed-forward network; 4 d_model if not given.
        position: The position encoding: "learned", "sinusoidal", "rope", "alibi", "t5" or "none". The bias of "t5" is
            that of T5's decoder, which has none for later positions, so the model refuses `causal=False`.
        norm: "layer" for LayerNorm, "rms" for RMSNorm.
        activation: The activation of the feed-forward networks; "swiglu" for gated ones.
        bias: Whether linear layers and LayerNorm have a bias.
        qkv_bias: Whether the layers of queries, keys and values have a bias; the same as `bias` if not given.
        tie_embeddings: Use the token embedding as the output layer too.
        norm_eps: The epsilon of LayerNorm or RMSNorm.
        rope_theta: The base of RoPE's frequencies; see RotaryPositions.
        n_experts: 0 for one feed-forward network per block; otherwise the number of experts of width d_ff, and the
            settings that follow are those of course_lib.nn.moe.MoE.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    vocab_size: int
    context: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = DERIVED
    head_dim: int = DERIVED
    d_ff: int = DERIVED
    position: str = "learned"
    norm: str = "layer"
    activation: str = "gelu_tanh"
    bias: bool = True
    qkv_bias: bool = DERIVED
    tie_embeddings: bool = True
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    n_experts: int = 0
    top_k: int = 2
    norm_topk_prob: bool = True
    d_shared: int = 0
    shared_gate: bool = False
    capacity_factor: float | None = None
    balanced_by_bias: bool = False

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        set_derived_head_dim(self)
        set_derived(self, n_kv_heads=self.n_heads, d_ff=4 * self.d_model, qkv_bias=self.bias)
        check_counts(self, "vocab_size", "context", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff")
        check_counts(self, "n_experts", "d_shared", least=0)
        check_numbers(self, "norm_eps", "rope_theta", above=0)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads={self.n_heads} must be a multiple of n_kv_heads={self.n_kv_heads}")
        if self.n_experts and not 1 <= self.top_k <= self.n_experts:
            raise ValueError(f"top_k={self.top_k} must lie between 1 and n_experts={self.n_experts}")
        if self.n_experts and (self.activation != "swiglu" or self.bias):
            raise ValueError('experts are SwiGLU networks without bias; set activation="swiglu" and bias=False')
        for name in () if self.n_experts else MOE_SETTINGS:
            if getattr(self, name) != getattr(GPTConfig, name):
                raise ValueError(f"{name}={getattr(self, name)} needs experts; set n_experts")

    @property
    def ends_at_context(self) -> bool:
        """Whether positions beyond `context` do not exist, so that a longer sequence is an error."""
        return self.position == "learned"


def dense_equivalent(config: GPTConfig) -> GPTConfig:
    """Return the config of the dense model in which a token uses as many parameters as in this one, routers aside.

    Its feed-forward networks are as wide as the experts of one token and the shared expert together.

    Raises:
        ValueError: If the model has no experts.
    """
    if not config.n_experts:
        raise ValueError("the model has no experts, so it is dense already")
    defaults: dict[str, Any] = {name: getattr(GPTConfig, name) for name in MOE_SETTINGS}
    return replace(config, n_experts=0, d_ff=config.top_k * config.d_ff + config.d_shared, **defaults)


class GPT(nn.Module):
    """GPT: a token embedding, a position encoding, blocks, a final norm and an output layer (`lm_head`)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position = POSITIONS[config.position](config)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_layers))
        self.norm = _norm(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw all weights from normal distributions of mean 0; biases start at 0, the gains of norms at 1.

        | weights | standard deviation |
        |---|---|
        | token embedding, output layer | 0.5 / sqrt(d_model) |
        | learned positions, T5's bias | 0.5 / sqrt(d_model) |
        | queries, keys and values | 1 / sqrt(d_model) |
        | output of attention | 1 / sqrt(2 n_layers n_heads head_dim) |
        | feed-forward: up, gate | 1 / sqrt(d_model) |
        | feed-forward: down | 1 / sqrt(2 n_layers d_ff), of a shared expert with its d_shared |
        | experts: up, gate, down | as feed-forward |
        | router, gate of the shared expert | 1 / sqrt(d_model) |

        The first two rows are GPT-2's 0.02 at its width of 768, and make logits small at any width. The others are
        those of `init_weights`: 1 / sqrt(inputs) keeps the variance, and 2 n_layers is the number of branches that add
        up in the residual stream. GPT-2 takes 0.02 there too, and divides by sqrt(2 n_layers) at the ends of branches.
        """
        std = 0.5 / math.sqrt(self.config.d_model)
        nn.init.normal_(self.token_embedding.weight, std=std)
        for parameter in self.position.parameters():  # only some encodings of the position are learned
            nn.init.normal_(parameter, std=std)
        init_weights(self.blocks, 2 * self.config.n_layers)
        nn.init.normal_(self.lm_head.weight, std=std)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        mask: Bool[Tensor, "..."] | None = None,
        head_mask: Float[Tensor, "layers heads"] | None = None,
        return_weights: bool = False,
        *,
        causal: bool = True,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch tokens vocab"] | tuple[Float[Tensor, "batch tokens vocab"], list[Tensor]]:
        """Compute the logits of the next token at every position.

        Args:
            ids: The token ids.
            mask: True where the query may attend to the key; broadcastable to "batch heads query key". It applies on
                top of the causal mask, for example to hide padding. With `causal=False` it alone decides, as for a
                prefix LM: mask=prefix_mask(n, 5), causal=False. With a cache, the keys are the cached tokens, followed
                by those of `ids`.
            head_mask: Factors on each head's output; see MultiHeadAttention.forward.
            return_weights: Return a pair: the logits, and each layer's attention weights, "batch heads tokens keys".
            causal: Hide later positions.
            positions: The position of each token in its own text, if a row holds several; None for 0, 1, 2, ... or,
                with a cache, for those that follow the cached tokens.
            cache: The cache of earlier tokens, which those of `ids` continue; they are added to it. For texts of
                different lengths, pad on the left and pass mask and positions.

        Raises:
            ValueError: If there are no tokens, if a shape is wrong, if there are more tokens than learned positions or
                room in the cache, if `causal=False` meets the position encoding "t5", or (on the CPU) if a token id is
                outside the vocabulary.
        """
        x = embed_tokens(self.token_embedding, ids)  # batch tokens d_model
        attention_weights: list[Tensor] | None = [] if return_weights else None
        x = self.hidden_states(x, mask, head_mask, attention_weights, causal=causal, positions=positions, cache=cache)
        logits = self.lm_head(x)  # batch tokens vocab
        return logits if attention_weights is None else (logits, attention_weights)

    def hidden_states(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        head_mask: Float[Tensor, "layers heads"] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        causal: bool = True,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Compute the last hidden states, which the output layer reads, from vectors in place of token ids.

        Args:
            x: The token embeddings, which may have vectors of images among them.
            mask: True where the query may attend to the key, on top of the causal mask; as in `forward`.
            head_mask: Factors on each head's output; see MultiHeadAttention.forward.
            attention_weights: A list to which each layer's attention weights are appended.
            causal: Hide later positions.
            positions: The position of each token in its own text; as in `forward`.
            cache: The cache of earlier tokens, to which those of x are added; as in `forward`.

        Raises:
            ValueError: As in `forward`.
        """
        if self.config.position == "t5" and not causal:
            raise ValueError(
                'position="t5" has the one-sided buckets of a decoder, and all later positions would share one; with '
                'causal=False use another encoding, such as "rope" or "alibi", or the encoder of a T5'
            )
        key_positions = None
        if cache is not None:
            positions, key_positions = cache.append_positions(x, positions)
            if causal and cache.length:  # with an empty cache the keys are the queries' own: the usual causal mask
                mask, causal = cache.causal_mask(mask, x.shape[1]), False
        x, bias, rotary = self.add_positions(x, positions, key_positions)
        for layer, block in enumerate(self.blocks):
            heads = None if head_mask is None else head_mask[layer]
            append = None if cache is None else partial(cache.append, layer)
            x = block(x, mask, bias, rotary, heads, attention_weights, causal=causal, cache=append)
        if cache is not None:
            cache.length += x.shape[1]
        return self.norm(x)

    def add_positions(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        positions: Int[Tensor, "#batch tokens"] | None = None,
        key_positions: Int[Tensor, "batch keys"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens d_model"], Tensor | None, tuple[Tensor, Tensor] | None]:
        """Encode the positions: in x itself, in a bias on the scores, or in rotations of queries and keys.

        Args:
            x: The token embeddings.
            positions: The position of each token; None for 0, 1, 2, ...
            key_positions: The positions of the keys, if the keys are not just the tokens of x.

        Returns:
            The arguments x, bias and rotary of the blocks.
        """
        n, bias, rotary = x.shape[1], None, None
        match self.config.position:
            case "learned":
                x = x + self.position(n, x.device, positions)
            case "sinusoidal":
                # The embeddings are scaled as in Vaswani et al. 2017, section 3.4.
                x = x * math.sqrt(self.config.d_model) + self.position(n, x.device, positions).to(x.dtype)
            case "rope":
                rotary = self.position(n, x.device, positions)  # cosines and sines, (batch 1) tokens head_dim/2
            case "alibi" | "t5":
                bias = self.position(n, x.device, positions, key_positions)  # (batch) heads tokens keys
            case "none":
                pass
            case other:
                raise AssertionError(f'position="{other}" is not applied in GPT.add_positions')
        return x, bias, rotary


def _norm(config: GPTConfig) -> nn.Module:
    match config.norm:
        case "rms":
            return RMSNorm(config.d_model, config.norm_eps)
        case "layer":
            return nn.LayerNorm(config.d_model, config.norm_eps, bias=config.bias)
        case other:
            raise AssertionError(f'norm="{other}" is not built in _norm')


def _feed_forward(config: GPTConfig) -> nn.Module:
    if config.n_experts:
        settings: dict[str, Any] = {name: getattr(config, name) for name in MOE_SETTINGS}
        return MoE(config.d_model, config.d_ff, config.n_experts, **settings)
    if config.activation == "swiglu":
        return GatedFeedForward(config.d_model, config.d_ff, "silu", config.bias)
    return FeedForward(config.d_model, config.d_ff, config.activation, config.bias)


def _block(config: GPTConfig) -> Block:
    feed_forward = _feed_forward(config)
    attention = MultiHeadAttention(
        config.d_model,
        config.n_heads,
        config.n_kv_heads,
        config.qkv_bias,
        head_dim=config.head_dim,
        out_bias=config.bias,
    )
    return Block(attention, feed_forward, _norm(config), _norm(config))
