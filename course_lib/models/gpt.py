"""GPT: one decoder-only language model, able to be GPT-2 (Radford et al. 2019) and Llama (Touvron et al. 2023)."""

import math
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, StackOptions, init_weights, run_blocks
from course_lib.nn.cache import KVCache
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward
from course_lib.nn.moe import MoE
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import ALiBi, LearnedPositions, RotaryPositions, SinusoidalPositions, T5RelativeBias
from course_lib.settings import check_choices, check_counts, check_numbers, set_default_head_dim, set_defaults

CHOICES = {
    "position": ("learned", "sinusoidal", "rope", "alibi", "t5", "none"),
    "norm": ("layer", "rms"),
    "activation": (*ACTIVATIONS, "swiglu"),
}
# What only a model with experts has: one without leaves them alone.
OF_EXPERTS = ("top_k", "norm_topk_prob", "d_shared", "shared_gate", "capacity_factor", "balanced_by_bias")


@dataclass(frozen=True)
class GPTConfig:
    """All that shapes a GPT; the defaults are GPT-2's style, at a size for experiments.

    context: the longest sequence with learned positions; the other position encodings do not use it.
    bias: in linear layers and LayerNorm alike; qkv_bias: in those of queries, keys and values.
    None stands for the usual and is replaced by it: n_kv_heads for n_heads, head_dim for d_model / n_heads, d_ff for
    4 d_model, qkv_bias for bias.
    tie_embeddings: the output layer is the token embedding.
    n_experts: 0 for one feed-forward network a block; otherwise so many of width d_ff, and the settings from top_k on
    are those of course_lib.nn.MoE.
    Raises ValueError with a sentence for anything that cannot be built.
    """

    vocab_size: int
    context: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int | None = None
    head_dim: int | None = None
    d_ff: int | None = None
    position: str = "learned"
    norm: str = "layer"
    activation: str = "gelu_tanh"
    bias: bool = True
    qkv_bias: bool | None = None
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
        set_default_head_dim(self)
        set_defaults(self, n_kv_heads=self.n_heads, d_ff=4 * self.d_model, qkv_bias=self.bias)
        check_counts(self, "vocab_size", "context", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff")
        check_counts(self, "n_experts", "d_shared", least=0)
        check_numbers(self, "norm_eps", "rope_theta", above=0)
        assert self.n_kv_heads  # None was replaced above
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads={self.n_heads} must be a multiple of n_kv_heads={self.n_kv_heads}")
        if self.n_experts and not 1 <= self.top_k <= self.n_experts:
            raise ValueError(f"top_k={self.top_k} must lie between 1 and n_experts={self.n_experts}")
        if self.n_experts and (self.activation != "swiglu" or self.bias):
            raise ValueError('experts are SwiGLU networks without bias; set activation="swiglu" and bias=False')
        for name in () if self.n_experts else OF_EXPERTS:
            if getattr(self, name) != getattr(GPTConfig, name):
                raise ValueError(f"{name}={getattr(self, name)} needs experts; set n_experts")


def dense_twin(config: GPTConfig) -> GPTConfig:
    """The model without experts in which a token meets as many parameters as in this one, the routers aside.

    Its feed-forward networks are as wide as the experts of one token and the shared expert together. Raises ValueError
    for a model without experts.
    """
    if not config.n_experts:
        raise ValueError("the model has no experts, so it is its own dense twin")
    dense = {name: getattr(GPTConfig, name) for name in OF_EXPERTS}
    assert config.d_ff  # None was replaced when the config was made
    return replace(config, n_experts=0, d_ff=config.top_k * config.d_ff + config.d_shared, **dense)


class GPT(nn.Module):
    """Embedding, blocks, final norm, output layer."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.position = _position(config)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_layers))
        self.norm = _norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.tokens.weight
        std = 0.5 / math.sqrt(config.d_model)  # GPT-2's 0.02 at its 768, and small logits at any width
        for module in self.modules():
            if isinstance(module, nn.Embedding | LearnedPositions):
                nn.init.normal_(module.weight, std=std)
        init_weights(self.blocks, 2 * config.n_layers)
        nn.init.normal_(self.head.weight, std=std)

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
    ) -> (
        Float[Tensor, "batch tokens vocab"]
        | tuple[Float[Tensor, "batch tokens vocab"], list[Float[Tensor, "batch heads tokens keys"]]]
    ):
        """Compute the logits of the next token at every position.

        Args:
            ids: the tokens.
            mask: broadcastable to "batch heads query key"; True means that the query may look at the key, on top of
                causality: padding, for example. With `causal=False` it is the whole rule, as for a prefix LM:
                mask=prefix_mask(n, 5), causal=False. With a cache, the keys are those in it and these.
            head_mask: multiplies each head's output; see MultiHeadAttention.forward.
            return_weights: return the pair of logits and each layer's attention weights.
            causal: hide later positions.
            positions: of each token in its own text, where a row holds several; None for 0, 1, 2, ... or, with a cache,
                for those that follow.
            cache: of earlier tokens, which these follow; they are added. For texts of different lengths, pad on the
                left and pass mask and positions.

        Raises:
            ValueError: for no tokens, another shape, more tokens than learned positions or room in the cache, or (on
                the CPU) a token id outside the vocabulary.
        """
        x, weights = self.hidden_states(
            embed_tokens(self.tokens, ids),
            mask,
            head_mask,
            return_weights,
            causal=causal,
            positions=positions,
            cache=cache,
        )
        logits = self.head(x)  # batch tokens vocab
        return (logits, weights) if return_weights else logits

    def hidden_states(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        head_mask: Float[Tensor, "layers heads"] | None = None,
        return_weights: bool = False,
        *,
        causal: bool = True,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Float[Tensor, "batch tokens d_model"], list[Float[Tensor, "batch heads tokens keys"]]]:
        """Compute what the output layer reads, for vectors in place of tokens. Arguments as in `forward`."""
        x, options = self.add_positions(x, mask, causal, positions, cache)
        x, weights = run_blocks(self.blocks, x, head_mask, return_weights, cache, **options)  # batch tokens d_model
        if cache is not None:
            cache.length += x.shape[1]
        return self.norm(x), weights

    def add_positions(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None,
        causal: bool,
        positions: Int[Tensor, "batch tokens"] | None,
        cache: KVCache | None,
    ) -> tuple[Float[Tensor, "batch tokens d_model"], StackOptions]:
        """Add position information to x, and return it with the options of `run_blocks` that carry positions too.

        Args:
            x: token embeddings.
            mask: True where a query may look, on top of causality.
            causal: whether later positions are hidden.
            positions: of each token; None for 0, 1, 2, ... or, with a cache, those that follow.
            cache: of earlier tokens, which takes note of these positions.
        """
        n, key_positions = x.shape[1], None
        if cache is not None:
            positions, key_positions = cache.append_positions(x, positions)
            if causal and cache.length:
                mask, causal = cache.causal_mask(mask, n), False
        options: StackOptions = {"mask": mask, "causal": causal}
        encoding: Any = self.position
        match self.config.position:
            case "learned":
                x = x + encoding(n, x.device, positions)
            case "sinusoidal":
                # The embeddings are scaled as in Vaswani et al. 2017, section 3.4.
                x = x * math.sqrt(self.config.d_model) + encoding(n, x.device, positions).to(x.dtype)
            case "rope":
                options["rotary"] = encoding(n, x.device, positions)  # cosines and sines, (batch 1) tokens head_dim/2
            case "alibi" | "t5":
                keys = {} if key_positions is None else {"key_positions": key_positions}  # without a cache: the same
                options["bias"] = encoding(n, x.device, positions, **keys)  # (batch) heads tokens keys
            case "none":
                pass
            case other:
                raise AssertionError(f'position="{other}" is not applied in GPT.add_positions')
        return x, options


def _position(config: GPTConfig) -> nn.Module | None:
    match config.position:
        case "learned":
            return LearnedPositions(config.context, config.d_model)
        case "sinusoidal":
            return SinusoidalPositions(config.d_model)
        case "rope":
            assert config.head_dim  # None was replaced when the config was made
            return RotaryPositions(config.head_dim, config.rope_theta)
        case "alibi":
            return ALiBi(config.n_heads)
        case "t5":
            return T5RelativeBias(config.n_heads)
        case "none":
            return None
        case other:
            raise AssertionError(f'position="{other}" is not built in _position')


def _norm(config: GPTConfig) -> nn.Module:
    match config.norm:
        case "rms":
            return RMSNorm(config.d_model, config.norm_eps)
        case "layer":
            return nn.LayerNorm(config.d_model, config.norm_eps, bias=config.bias)
        case other:
            raise AssertionError(f'norm="{other}" is not built in _norm')


def _block(config: GPTConfig) -> Block:
    assert config.d_ff  # None was replaced when the config was made
    if config.n_experts:
        options: dict[str, Any] = {name: getattr(config, name) for name in OF_EXPERTS}
        feed_forward: nn.Module = MoE(config.d_model, config.d_ff, config.n_experts, **options)
    elif config.activation == "swiglu":
        feed_forward = GatedFeedForward(config.d_model, config.d_ff, "silu", config.bias)
    else:
        feed_forward = FeedForward(config.d_model, config.d_ff, config.activation, config.bias)
    attention = MultiHeadAttention(
        config.d_model,
        config.n_heads,
        config.n_kv_heads,
        bool(config.qkv_bias),
        head_dim=config.head_dim,
        out_bias=config.bias,
    )
    return Block(attention, feed_forward, _norm(config), _norm(config))
