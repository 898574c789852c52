"""GPT: one decoder-only language model, able to be GPT-2 (Radford et al. 2019) and Llama (Touvron et al. 2023)."""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block
from course_lib.nn.feed_forward import FeedForward, SwiGLU
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import ALiBi, Learned, RotaryTable, Sinusoidal, T5RelativeBias

CHOICES = {
    "position": ("learned", "sinusoidal", "rope", "alibi", "t5", "none"),
    "norm": ("layer", "rms"),
    "activation": ("gelu", "gelu_tanh", "swiglu"),
}


@dataclass(frozen=True)
class GPTConfig:
    """All that shapes a GPT; the defaults are GPT-2's style, at a size for experiments.

    context: positions with a learned vector of their own; the other position encodings do not use it.
    n_kv_heads: None for as many as n_heads. d_ff: None for 4 d_model. bias: in linear layers and LayerNorm alike.
    tied: the output layer is the token embedding. Raises ValueError with a sentence for anything that cannot be built.
    """

    vocab_size: int
    context: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int | None = None
    d_ff: int | None = None
    position: str = "learned"
    norm: str = "layer"
    activation: str = "gelu_tanh"
    bias: bool = True
    tied: bool = True
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f'{name}="{getattr(self, name)}" is not supported; use one of {", ".join(choices)}')
        for name in ("vocab_size", "context", "d_model", "n_layers", "n_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.hidden < 1:
            raise ValueError(f"d_ff={self.d_ff} must be at least 1, or None for 4 d_model")

    @property
    def head_dim(self) -> int:
        """Size of one head."""
        return self.d_model // self.n_heads

    @property
    def hidden(self) -> int:
        """Width of the feed-forward layers."""
        return 4 * self.d_model if self.d_ff is None else self.d_ff


class GPT(nn.Module):
    """Embedding, blocks, final norm, output layer. Works on sequences longer than `config.context`, well or badly."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.position = _position(config)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_layers))
        self.norm = _norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.tokens.weight
        self._initialise()

    def _initialise(self) -> None:
        """Variance kept through every layer; the 2 n_layers branches together add about as much as one (GPT-2)."""
        embedding_std = 0.5 / math.sqrt(self.config.d_model)  # GPT-2's 0.02 at its 768, and small logits at any width
        for name, module in self.named_modules():
            if isinstance(module, nn.Embedding | Learned):
                nn.init.normal_(module.weight, std=embedding_std)
            elif isinstance(module, nn.Linear) and name != "head":
                branch_end = name.endswith((".out", ".down"))
                scale = 1 / math.sqrt(2 * self.config.n_layers) if branch_end else 1.0
                nn.init.normal_(module.weight, std=scale / math.sqrt(module.in_features))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=embedding_std)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        mask: Bool[Tensor, "..."] | None = None,
        head_mask: Float[Tensor, "layers heads"] | None = None,
        return_weights: bool = False,
        *,
        causal: bool = True,
    ) -> (
        Float[Tensor, "batch tokens vocab"]
        | tuple[Float[Tensor, "batch tokens vocab"], list[Float[Tensor, "batch heads tokens tokens"]]]
    ):
        """Logits of the next token at every position; with `return_weights=True` also each layer's attention weights.

        mask: Bool broadcastable to "batch heads query key", True where a query may look, on top of causality: padding,
        for example. With `causal=False` it is the whole rule, as for a prefix LM: mask=prefix_mask(n, 5), causal=False.
        head_mask: multiplies each head's output; see MultiHeadAttention.forward.
        Raises ValueError for no tokens at all, another shape, or (on the CPU) a token id outside the vocabulary.
        """
        if ids.dim() != 2:
            raise ValueError(
                f"ids must have the shape (batch, tokens), not {tuple(ids.shape)}; for one text: ids[None]"
            )
        n = ids.shape[1]
        if n == 0:
            raise ValueError("the model needs at least one token; the text is empty")
        try:
            x = self.tokens(ids)
        except IndexError:
            raise ValueError(
                f"token ids run from {ids.min()} to {ids.max()}, but the vocabulary has {self.config.vocab_size}; "
                "was the text encoded by another tokenizer?"
            ) from None

        options: dict[str, Any] = {"mask": mask, "causal": causal}
        places: Any = None if self.position is None else self.position(n, ids.device)
        match self.config.position:
            case "sinusoidal":
                # Scaled as in Vaswani et al. 2017, section 3.4.
                x = x * math.sqrt(self.config.d_model) + places.to(x.dtype)
            case "learned":
                x = x + places
            case "rope":
                options["rotary"] = places
            case "alibi" | "t5":
                options["bias"] = places

        weights = []
        for layer, block in enumerate(self.blocks):
            if head_mask is not None:
                options["head_mask"] = head_mask[layer]
            if return_weights:
                x, layer_weights = block(x, return_weights=True, **options)
                weights.append(layer_weights)
            else:
                x = block(x, **options)
        logits = self.head(self.norm(x))
        return (logits, weights) if return_weights else logits


def _position(config: GPTConfig) -> nn.Module | None:
    match config.position:
        case "learned":
            return Learned(config.context, config.d_model)
        case "sinusoidal":
            return Sinusoidal(config.d_model)
        case "rope":
            return RotaryTable(config.head_dim, config.rope_theta)
        case "alibi":
            return ALiBi(config.n_heads)
        case "t5":
            return T5RelativeBias(config.n_heads)
    return None


def _norm(config: GPTConfig) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.d_model, config.norm_eps)
    return nn.LayerNorm(config.d_model, config.norm_eps, bias=config.bias)


def _block(config: GPTConfig) -> Block:
    if config.activation == "swiglu":
        feed_forward: nn.Module = SwiGLU(config.d_model, config.hidden, config.bias)
    else:
        feed_forward = FeedForward(config.d_model, config.hidden, config.activation, config.bias)
    attention = MultiHeadAttention(config.d_model, config.n_heads, config.n_kv_heads, config.bias)
    return Block(attention, feed_forward, _norm(config), _norm(config))
