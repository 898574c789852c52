"""T5: an encoder reads the source, a decoder writes the target (Raffel et al. 2020; v1.1 as in Shazeer 2020)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.constants import IGNORE_INDEX
from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block, CrossAttentionBlock, init_weights
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import FeedForward, GatedFeedForward
from course_lib.nn.norms import RMSNorm
from course_lib.nn.positions import T5RelativeBias
from course_lib.settings import DERIVED, check_choices, check_counts, check_numbers, set_derived, set_derived_head_dim

CHOICES = {"activation": ("relu", "geglu")}


@dataclass(frozen=True)
class T5Config:
    """The configuration of a T5; the defaults are the style of the original T5, at a size for experiments.

    Attributes:
        vocab_size: The number of tokens in the vocabulary.
        d_model: The width of the residual stream.
        n_layers: The number of encoder blocks.
        n_decoder_layers: The number of decoder blocks; n_layers if not given.
        n_heads: The number of attention heads.
        head_dim: The width of a head; d_model / n_heads if not given.
        d_ff: The width of a feed-forward network; 4 d_model if not given.
        activation: "relu", or "geglu" as in v1.1.
        n_buckets: The number of buckets of the position bias; see T5RelativeBias.
        max_distance: The distance from which on all distances share one bucket; see T5RelativeBias.
        tie_embeddings: Use the token embedding as the output layer too; v1.1 has a separate one.
        scale_logits: Multiply the input of the output layer by d_model^-0.5; as tie_embeddings if not given.
        norm_eps: The epsilon of RMSNorm.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    vocab_size: int
    d_model: int = 128
    n_layers: int = 4
    n_decoder_layers: int = DERIVED
    n_heads: int = 4
    head_dim: int = DERIVED
    d_ff: int = DERIVED
    activation: str = "relu"
    n_buckets: int = 32
    max_distance: int = 128
    tie_embeddings: bool = True
    scale_logits: bool = DERIVED
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        set_derived_head_dim(self)
        set_derived(self, n_decoder_layers=self.n_layers, d_ff=4 * self.d_model, scale_logits=self.tie_embeddings)
        check_counts(self, "vocab_size", "d_model", "n_layers", "n_decoder_layers", "n_heads", "head_dim", "d_ff")
        check_numbers(self, "norm_eps", above=0)
        if self.n_buckets < 4 or self.max_distance <= self.n_buckets // 2:
            raise ValueError(
                f"n_buckets={self.n_buckets} must be at least 4, and max_distance={self.max_distance} more than half "
                "of it: half of the buckets hold one distance each"
            )


class T5(nn.Module):
    """T5: an encoder, a decoder and an output layer; encoder and decoder share the token embedding.

    Positions enter only through the relative position biases of encoder and decoder.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        encoder = [_encoder_block(config) for _ in range(config.n_layers)]
        decoder = [_decoder_block(config) for _ in range(config.n_decoder_layers)]
        self.encoder = Stack(config, self.token_embedding, encoder, bidirectional=True)
        self.decoder = Stack(config, self.token_embedding, decoder, bidirectional=False)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        self._init_weights()

    def _init_weights(self) -> None:
        d_model = self.config.d_model
        for stack, branches in ((self.encoder, 2), (self.decoder, 3)):
            init_weights(stack, branches * len(stack.blocks))
            for module in stack.modules():
                if isinstance(module, MultiHeadAttention):  # small queries: scores are not divided by sqrt(head_dim)
                    queries = module.qkv.weight.data[: module.qkv_sizes[0]]
                    nn.init.normal_(queries, std=1 / math.sqrt(d_model * module.head_dim))
            nn.init.normal_(stack.position.bias.weight, std=1 / math.sqrt(d_model))
        std = 0.5 if self.config.scale_logits else 0.5 / math.sqrt(d_model)  # logits of standard deviation 1/2
        nn.init.normal_(self.token_embedding.weight, std=std)
        nn.init.normal_(self.lm_head.weight, std=std)

    def forward(
        self,
        ids: Int[Tensor, "batch source"],
        decoder_ids: Int[Tensor, "batch target"],
        mask: Bool[Tensor, "batch source"] | None = None,
        return_weights: bool = False,
        *,
        decoder_mask: Bool[Tensor, "batch target"] | None = None,
    ) -> Float[Tensor, "batch target vocab"] | tuple[Float[Tensor, "batch target vocab"], dict[str, list[Tensor]]]:
        """Compute the logits of the token that follows each of `decoder_ids`.

        Args:
            ids: The token ids of the source.
            decoder_ids: The target so far; in training, `shift_right(targets, start_id)`.
            mask: True where a token of the source is not padding; None for no padding.
            return_weights: Return a pair: the logits, and a dictionary with the keys "encoder", "decoder" and "cross"
                (from target to source), which holds the attention weights of each layer, "batch heads query key".
            decoder_mask: True where a token of the target is not padding; None for no padding.

        Raises:
            ValueError: If there are no tokens, if shapes do not fit, or (on the CPU) if a token id is outside the
                vocabulary.
        """
        if not return_weights:
            return self.decode(decoder_ids, self.encode(ids, mask), mask, decoder_mask=decoder_mask)
        encoder: list[Tensor] = []
        decoder: list[Tensor] = []
        memory = self.encode(ids, mask, encoder)
        logits = self.decode(decoder_ids, memory, mask, decoder, decoder_mask=decoder_mask)
        return logits, {"encoder": encoder, "decoder": decoder[::2], "cross": decoder[1::2]}

    def encode(
        self,
        ids: Int[Tensor, "batch source"],
        mask: Bool[Tensor, "batch source"] | None = None,
        attention_weights: list[Tensor] | None = None,
    ) -> Float[Tensor, "batch source d_model"]:
        """Compute the memory that the decoder attends to; it is needed only once for all tokens of the target.

        Args:
            ids: The token ids of the source.
            mask: True where a token is not padding; None for no padding.
            attention_weights: A list to which each layer's attention weights are appended.
        """
        x = embed_tokens(self.token_embedding, ids)  # batch source d_model
        mask = _mask_of_keys(mask, ids.shape)
        bias = self.encoder.position(ids.shape[1], ids.device)  # heads source source
        for block in self.encoder.blocks:
            x = block(x, mask, bias, attention_weights=attention_weights)
        return self.encoder.norm(x)

    def decode(
        self,
        decoder_ids: Int[Tensor, "batch target"],
        memory: Float[Tensor, "batch source d_model"],
        memory_mask: Bool[Tensor, "batch source"] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        decoder_mask: Bool[Tensor, "batch target"] | None = None,
    ) -> Float[Tensor, "batch target vocab"]:
        """Compute the logits of `forward` from the memory of the source.

        Args:
            decoder_ids: The target so far.
            memory: The output of `encode`.
            memory_mask: The mask that was given to `encode`.
            attention_weights: A list to which each layer's attention weights are appended, first of self-attention,
                then of cross-attention.
            decoder_mask: True where a token of the target is not padding; None for no padding.
        """
        if decoder_ids.dim() == 2 and len(memory) != len(decoder_ids):
            raise ValueError(
                f"there are {len(decoder_ids)} targets for {len(memory)} sources; give each its source, as by expand"
            )
        x = embed_tokens(self.token_embedding, decoder_ids)  # batch target d_model
        mask = _mask_of_keys(decoder_mask, decoder_ids.shape)
        memory_mask = _mask_of_keys(memory_mask, memory.shape[:2])
        bias = self.decoder.position(decoder_ids.shape[1], decoder_ids.device)  # heads target target
        for block in self.decoder.blocks:
            x = block(x, memory, mask, bias, attention_weights, memory_mask=memory_mask, causal=True)
        x = self.decoder.norm(x)
        if self.config.scale_logits:
            x = x / math.sqrt(self.config.d_model)
        return self.lm_head(x)  # batch target vocab


class Stack(nn.Module):
    """The encoder or the decoder of a T5: its blocks, the position bias that they share, and the final norm.

    Args:
        config: The config of the model.
        token_embedding: The token embedding, which encoder and decoder share.
        blocks: The blocks of the encoder or the decoder.
        bidirectional: Whether a token attends to later ones.
    """

    def __init__(
        self, config: T5Config, token_embedding: nn.Embedding, blocks: Sequence[nn.Module], *, bidirectional: bool
    ) -> None:
        super().__init__()
        self.token_embedding = token_embedding
        self.position = T5RelativeBias(config.n_heads, config.n_buckets, config.max_distance, bidirectional)
        self.blocks = nn.ModuleList(blocks)
        self.norm = _norm(config)


def shift_right(targets: Int[Tensor, "batch target"], start_id: int) -> Int[Tensor, "batch target"]:
    """Return the decoder's input for predicting `targets`: start_id, followed by all targets but the last.

    A target of -100, which the loss ignores, is replaced by start_id.

    Raises:
        ValueError: If there are no targets.
    """
    if targets.shape[1] == 0:
        raise ValueError("there is nothing to predict: the targets are empty")
    shifted = targets.roll(1, dims=1)
    shifted[:, 0] = start_id
    return shifted.masked_fill(shifted == IGNORE_INDEX, start_id)


def _attention(config: T5Config) -> MultiHeadAttention:
    return MultiHeadAttention(config.d_model, config.n_heads, head_dim=config.head_dim, scale=1.0)


def _norm(config: T5Config) -> RMSNorm:
    return RMSNorm(config.d_model, config.norm_eps)


def _feed_forward(config: T5Config) -> nn.Module:
    match config.activation:
        case "geglu":
            return GatedFeedForward(config.d_model, config.d_ff, "gelu_tanh")
        case "relu":
            return FeedForward(config.d_model, config.d_ff, "relu", bias=False)
        case other:
            raise AssertionError(f'activation="{other}" is not built in _feed_forward')


def _encoder_block(config: T5Config) -> Block:
    return Block(_attention(config), _feed_forward(config), _norm(config), _norm(config))


def _decoder_block(config: T5Config) -> CrossAttentionBlock:
    norms = [_norm(config) for _ in range(3)]
    return CrossAttentionBlock(_attention(config), _attention(config), _feed_forward(config), *norms)


def _mask_of_keys(mask: Bool[Tensor, "..."] | None, shape: tuple[int, ...]) -> Bool[Tensor, "batch 1 1 keys"] | None:
    """Turn the mask of the tokens that are not padding into one for attention.

    Raises:
        ValueError: If the mask does not have the shape of the tokens.
    """
    if mask is not None and mask.shape != shape:
        raise ValueError(f"the mask has the shape {tuple(mask.shape)}, but the tokens it is for have {tuple(shape)}")
    return None if mask is None else mask[:, None, None]
