"""T5: an encoder reads the source, a decoder writes the target (Raffel et al. 2020; v1.1 as in Shazeer 2020)."""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.constants import IGNORE_INDEX
from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, init_weights, run_blocks
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import FeedForward, GatedFeedForward
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import T5RelativeBias
from course_lib.settings import check_choices, check_counts, check_numbers, set_default_head_dim, set_defaults

CHOICES = {"activation": ("relu", "geglu")}


@dataclass(frozen=True)
class T5Config:
    """All that shapes a T5; the defaults are the original's style, at a size for experiments.

    activation: "relu", or "geglu" as in v1.1. tie_embeddings: the output layer is the token
    embedding; v1.1 has one of its own. n_layers: of the encoder. n_buckets, max_distance: see T5RelativeBias.
    scale_logits: the output layer reads its input times d_model^-0.5.
    None stands for the usual and is replaced by it: n_decoder_layers for n_layers, head_dim for d_model / n_heads, d_ff
    for 4 d_model, scale_logits for tie_embeddings. Raises ValueError with a sentence for anything that cannot be built.
    """

    vocab_size: int
    d_model: int = 128
    n_layers: int = 4
    n_decoder_layers: int | None = None
    n_heads: int = 4
    head_dim: int | None = None
    d_ff: int | None = None
    activation: str = "relu"
    n_buckets: int = 32
    max_distance: int = 128
    tie_embeddings: bool = True
    scale_logits: bool | None = None
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        set_default_head_dim(self)
        set_defaults(self, n_decoder_layers=self.n_layers, d_ff=4 * self.d_model, scale_logits=self.tie_embeddings)
        check_counts(self, "vocab_size", "d_model", "n_layers", "n_decoder_layers", "n_heads", "head_dim", "d_ff")
        check_numbers(self, "norm_eps", above=0)
        if self.n_buckets < 4 or self.max_distance <= self.n_buckets // 2:
            raise ValueError(
                f"n_buckets={self.n_buckets} must be at least 4, and max_distance={self.max_distance} more than half "
                "of it: half of the buckets hold one distance each"
            )


class T5(nn.Module):
    """Encoder, decoder and output layer over one token embedding; no position but the bias of its stack."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config, self.tokens, decoder=False)
        self.decoder = Stack(config, self.tokens, decoder=True)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.tokens.weight
        for stack, branches in ((self.encoder, 2), (self.decoder, 3)):
            init_weights(stack, branches * len(stack.blocks))
            for module in stack.modules():
                if isinstance(module, MultiHeadAttention):  # small queries: nothing divides scores by sqrt(head_dim)
                    queries = module.qkv.weight.data[: module.qkv_sizes[0]]
                    nn.init.normal_(queries, std=1 / math.sqrt(config.d_model * module.head_dim))
            nn.init.normal_(stack.position.bias.weight, std=1 / math.sqrt(config.d_model))
        std = 0.5 if config.scale_logits else 0.5 / math.sqrt(config.d_model)  # logits of standard deviation 1/2
        nn.init.normal_(self.tokens.weight, std=std)
        nn.init.normal_(self.head.weight, std=std)

    def forward(
        self,
        ids: Int[Tensor, "batch source"],
        decoder_ids: Int[Tensor, "batch target"],
        mask: Bool[Tensor, "batch source"] | None = None,
        return_weights: bool = False,
        *,
        decoder_mask: Bool[Tensor, "batch target"] | None = None,
    ) -> Float[Tensor, "batch target vocab"] | tuple[Float[Tensor, "batch target vocab"], dict[str, list[Tensor]]]:
        """Logits of the token after each of `decoder_ids`: in training these are `shift_right(targets, start_id)`.

        mask, decoder_mask: True where a token is real; None for no padding. With `return_weights=True` also the
        attention weights of each layer, "batch heads query key": "encoder", "decoder", and "cross" from target to
        source.
        Raises ValueError for no tokens, shapes that do not fit, or (on the CPU) a token id outside the vocabulary.
        """
        memory, encoder = self.encoder(ids, mask, return_weights)
        result = self.decode(decoder_ids, memory, mask, return_weights, decoder_mask=decoder_mask)
        return (result[0], {"encoder": encoder, **result[1]}) if isinstance(result, tuple) else result

    def encode(
        self,
        ids: Int[Tensor, "batch source"],
        mask: Bool[Tensor, "batch source"] | None = None,
        return_weights: bool = False,
    ) -> Float[Tensor, "batch source d_model"] | tuple[Float[Tensor, "batch source d_model"], list[Tensor]]:
        """The memory that the decoder looks at, once for all tokens that it writes. Arguments as `forward`."""
        memory, weights = self.encoder(ids, mask, return_weights)
        return (memory, weights) if return_weights else memory

    def decode(
        self,
        decoder_ids: Int[Tensor, "batch target"],
        memory: Float[Tensor, "batch source d_model"],
        memory_mask: Bool[Tensor, "batch source"] | None = None,
        return_weights: bool = False,
        *,
        decoder_mask: Bool[Tensor, "batch target"] | None = None,
    ) -> Float[Tensor, "batch target vocab"] | tuple[Float[Tensor, "batch target vocab"], dict[str, list[Tensor]]]:
        """Logits as from `forward`, for a memory made by `encode`; memory_mask: the mask that was given to it."""
        if decoder_ids.dim() == 2 and len(memory) != len(decoder_ids):
            raise ValueError(
                f"there are {len(decoder_ids)} targets for {len(memory)} sources; give each its source, as by expand"
            )
        where = _keys(memory_mask, memory.shape[:2])
        x, weights = self.decoder(decoder_ids, decoder_mask, return_weights, memory=memory, memory_mask=where)
        if self.config.scale_logits:
            x = x / math.sqrt(self.config.d_model)
        logits = self.head(x)
        if not return_weights:
            return logits
        return logits, {"decoder": [own for own, _ in weights], "cross": [cross for _, cross in weights]}


class Stack(nn.Module):
    """The blocks of one side, the position bias that all of them share, and the norm at the end."""

    def __init__(self, config: T5Config, tokens: nn.Embedding, *, decoder: bool) -> None:
        super().__init__()
        self.causal = decoder
        self.tokens = tokens
        self.position = T5RelativeBias(config.n_heads, config.n_buckets, config.max_distance, bidirectional=not decoder)
        n_layers = config.n_decoder_layers if decoder else config.n_layers
        self.blocks = nn.ModuleList(_block(config, cross=decoder) for _ in range(n_layers or 0))
        self.norm = RMSNorm(config.d_model, config.norm_eps)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        mask: Bool[Tensor, "batch tokens"] | None,
        return_weights: bool,
        **memory: Any,
    ) -> tuple[Float[Tensor, "batch tokens d_model"], list[Any]]:
        """A vector for each token, and with `return_weights=True` what each block returns beside it."""
        bias = self.position(ids.shape[-1], ids.device)
        options = {"mask": _keys(mask, ids.shape), "bias": bias, "causal": self.causal, **memory}
        x, weights = run_blocks(self.blocks, embed_tokens(self.tokens, ids), None, return_weights, **options)
        return self.norm(x), weights


def shift_right(targets: Int[Tensor, "batch target"], start_id: int) -> Int[Tensor, "batch target"]:
    """What the decoder reads in order to predict `targets`: start_id first, then all but the last of them.

    A target of -100, which does not count in a loss, is read as start_id. Raises ValueError for no targets.
    """
    if targets.shape[1] == 0:
        raise ValueError("there is nothing to predict: the targets are empty")
    shifted = targets.roll(1, dims=1)
    shifted[:, 0] = start_id
    return shifted.masked_fill(shifted == IGNORE_INDEX, start_id)


def _block(config: T5Config, cross: bool) -> Block:
    assert config.d_ff  # None was replaced when the config was made

    def attention() -> MultiHeadAttention:
        return MultiHeadAttention(config.d_model, config.n_heads, head_dim=config.head_dim, scale=1.0)

    def norm() -> RMSNorm:
        return RMSNorm(config.d_model, config.norm_eps)

    feed_forward: nn.Module
    match config.activation:
        case "geglu":
            feed_forward = GatedFeedForward(config.d_model, config.d_ff, "gelu_tanh")
        case "relu":
            feed_forward = FeedForward(config.d_model, config.d_ff, "relu", bias=False)
        case other:
            raise AssertionError(f'activation="{other}" is not built in _block')
    if cross:
        return Block(attention(), feed_forward, norm(), norm(), cross=attention(), norm_cross=norm())
    return Block(attention(), feed_forward, norm(), norm())


def _keys(mask: Bool[Tensor, "..."] | None, shape: tuple[int, ...]) -> Bool[Tensor, "batch 1 1 keys"] | None:
    """The mask of real tokens as one of keys. Raises ValueError when it is not one of tokens of that shape."""
    if mask is not None and mask.shape != shape:
        raise ValueError(f"the mask has the shape {tuple(mask.shape)}, but the tokens it is for have {tuple(shape)}")
    return None if mask is None else mask[:, None, None]
