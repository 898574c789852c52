"""From token ids to vectors, with clear errors for ids that are outside the vocabulary."""

from jaxtyping import Float, Int
from torch import Tensor, nn


def embed_tokens(table: nn.Embedding, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d_model"]:
    """Look up the vector of each token.

    Args:
        table: The token embedding of a model.
        ids: The token ids.

    Raises:
        ValueError: If there are no tokens, if `ids` is not two-dimensional, or (on the CPU) if a token id is outside
            the vocabulary.
    """
    if ids.dim() != 2:
        raise ValueError(f"ids must have the shape (batch, tokens), not {tuple(ids.shape)}; for one text: ids[None]")
    if ids.shape[1] == 0:
        raise ValueError("the model needs at least one token; the text is empty")
    try:
        return table(ids)
    except IndexError:
        raise ValueError(
            f"token ids run from {ids.min()} to {ids.max()}, but the vocabulary has {table.num_embeddings}; "
            "was the text encoded by another tokenizer?"
        ) from None
