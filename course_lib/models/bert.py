"""BERT: the encoder that attends to both sides of every token and predicts masked tokens (Devlin et al. 2018)."""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.nn.attention import MultiHeadAttention
from course_lib.nn.block import Block
from course_lib.nn.embed import embed_tokens
from course_lib.nn.feed_forward import ACTIVATIONS, FeedForward
from course_lib.nn.positions import LearnedPositions
from course_lib.settings import DERIVED, check_choices, check_counts, check_numbers, set_derived

CHOICES = {"activation": ACTIVATIONS, "head": ("mlm", "none")}


@dataclass(frozen=True)
class BertConfig:
    """The configuration of a BERT; the defaults are the style of the paper, at a size for experiments.

    Attributes:
        vocab_size: The number of tokens in the vocabulary.
        context: The length of the longest sequence, in tokens.
        d_model: The width of the residual stream.
        n_layers: The number of blocks.
        n_heads: The number of attention heads.
        d_ff: The width of a feed-forward network; 4 d_model if not given.
        n_token_types: The number of token types, such as those of a first and a second text.
        activation: The activation of the feed-forward networks and the head.
        norm_eps: The epsilon of LayerNorm.
        head: "mlm" for logits over the vocabulary, "none" for the last hidden states.
        pooler: Add a layer that makes the first token a vector of the whole text; see Bert.pool.

    Raises:
        ValueError: If a setting is invalid, or settings do not fit together; the message says which.
    """

    vocab_size: int
    context: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    d_ff: int = DERIVED
    n_token_types: int = 2
    activation: str = "gelu"
    norm_eps: float = 1e-12
    head: str = "mlm"
    pooler: bool = False

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        set_derived(self, d_ff=4 * self.d_model)
        check_counts(self, "vocab_size", "context", "d_model", "n_layers", "n_heads", "d_ff", "n_token_types")
        check_numbers(self, "norm_eps", above=0)


class Bert(nn.Module):
    """BERT: the normalised sum of three embeddings, post-norm blocks, and a head that predicts masked tokens."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position = LearnedPositions(config.context, config.d_model)
        self.token_types = nn.Embedding(config.n_token_types, config.d_model)
        self.norm = _norm(config)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_layers))
        self.pooler = nn.Linear(config.d_model, config.d_model) if config.pooler else None
        match config.head:
            case "mlm":
                self.transform = nn.Linear(config.d_model, config.d_model)
                self.transform_norm = _norm(config)
                self.lm_head = nn.Linear(config.d_model, config.vocab_size)
                self.lm_head.weight = self.token_embedding.weight
            case "none":
                pass
            case other:
                raise AssertionError(f'head="{other}" is not built in Bert')
        self._init_weights()

    def _init_weights(self) -> None:
        """Initialise all weights with a standard deviation of 0.5 / sqrt(d_model): BERT's 0.02 at its width of 768."""
        std = 0.5 / math.sqrt(self.config.d_model)
        for module in self.modules():
            if isinstance(module, nn.Embedding | LearnedPositions | nn.Linear):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        mask: Bool[Tensor, "..."] | None = None,
        head_mask: Float[Tensor, "layers heads"] | None = None,
        return_weights: bool = False,
        *,
        token_types: Int[Tensor, "batch tokens"] | None = None,
        positions: Int[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens features"] | tuple[Float[Tensor, "batch tokens features"], list[Tensor]]:
        """Compute the logits of each token or, without a head, the last hidden states.

        Args:
            ids: The token ids.
            mask: True where the query may attend to the key; broadcastable to "batch heads query key"; for
                example from padding_mask.
            head_mask: Factors on each head's output; see MultiHeadAttention.forward.
            return_weights: Return a pair: the logits, and each layer's attention weights, "batch heads tokens tokens".
            token_types: 0 for the first text, 1 for the second; None for 0 everywhere.
            positions: The position of each token in its own text, if a row holds several; None for 0, 1, 2, ...

        Raises:
            ValueError: If there are no tokens, if a shape is wrong, if there are more tokens than positions, or (on the
                CPU) if a token id is outside the vocabulary or a token type is one that the model lacks.
        """
        x = embed_tokens(self.token_embedding, ids)  # batch tokens d_model
        attention_weights: list[Tensor] | None = [] if return_weights else None
        x = self.hidden_states(x, mask, head_mask, attention_weights, token_types=token_types, positions=positions)
        if self.config.head == "mlm":
            x = ACTIVATIONS[self.config.activation](self.transform(x))
            x = self.lm_head(self.transform_norm(x))  # batch tokens vocab
        return x if attention_weights is None else (x, attention_weights)

    def hidden_states(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        head_mask: Float[Tensor, "layers heads"] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        token_types: Int[Tensor, "batch tokens"] | None = None,
        positions: Int[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Compute the last hidden states, which the head reads, from token embeddings.

        Args:
            x: The token embeddings.
            mask: True where the query may attend to the key; as in `forward`.
            head_mask: Factors on each head's output; as in `forward`.
            attention_weights: A list to which each layer's attention weights are appended.
            token_types: 0 for the first text, 1 for the second; None for 0 everywhere.
            positions: The position of each token in its own text; None for 0, 1, 2, ...
        """
        x = x + self.position(x.shape[1], x.device, positions) + self._types(x, token_types)
        x = self.norm(x)
        for layer, block in enumerate(self.blocks):
            heads = None if head_mask is None else head_mask[layer]
            x = block(x, mask, head_mask=heads, attention_weights=attention_weights)  # batch tokens d_model
        return x

    def _types(self, x: Tensor, token_types: Tensor | None) -> Tensor:
        if token_types is None:
            return self.token_types.weight[0]
        if token_types.shape != x.shape[:2]:
            raise ValueError(f"token_types has the shape {tuple(token_types.shape)}, but the ids {tuple(x.shape[:2])}")
        try:
            return self.token_types(token_types)
        except IndexError:
            n = self.config.n_token_types
            raise ValueError(
                f"token_types run from {token_types.min()} to {token_types.max()}, but the model has {n} of them"
            ) from None

    def pool(self, hidden: Float[Tensor, "batch tokens d_model"]) -> Float[Tensor, "batch d_model"]:
        """Compute a vector of each text: a linear layer and tanh on its first token.

        The next-sentence objective trained the first token to represent the whole text.

        Raises:
            ValueError: If the model has no pooler.
        """
        if self.pooler is None:
            raise ValueError("this model has no pooler; build it with pooler=True, or take the mean of the tokens")
        return self.pooler(hidden[:, 0]).tanh()


def _norm(config: BertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.d_model, config.norm_eps)


def _block(config: BertConfig) -> Block:
    attention = MultiHeadAttention(config.d_model, config.n_heads, bias=True)
    feed_forward = FeedForward(config.d_model, config.d_ff, config.activation)
    return Block(attention, feed_forward, _norm(config), _norm(config), norm_first=False)
