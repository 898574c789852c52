"""How likely a language model finds each of a few tokens after a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from course_lib.models.gpt import GPT
from course_lib.nn.cache import KVCache
from course_lib.nn.embed import embed_tokens


@torch.no_grad()
def choice_logits(
    model: GPT, tokenizer: Tokenizer, texts: Sequence[str], choices: Sequence[str], shared: str = ""
) -> Float[Tensor, "text choice"]:
    """Compute the logits of a few tokens after each text, on the CPU.

    Args:
        model: The language model.
        tokenizer: Its tokenizer.
        texts: The texts, in one batch.
        choices: The tokens to compare, such as " he" and " she". Of a longer text the first token counts.
        shared: A text that stands before each of them, such as solved examples. It is read once.
    """
    device = model.token_embedding.weight.device
    encoded = [tokenizer.encode(text).ids for text in texts]
    last = torch.tensor([len(ids) - 1 for ids in encoded], device=device)
    longest = max(map(len, encoded))
    # What fills up a row comes after its text, where a causal model does not look.
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in encoded], device=device)
    cache = _read_once(model, tokenizer.encode(shared).ids, len(ids), longest) if shared else None
    hidden = model.hidden_states(embed_tokens(model.token_embedding, ids), cache=cache)
    hidden = hidden[torch.arange(len(ids), device=device), last]
    tokens = [tokenizer.encode(choice).ids[0] for choice in choices]
    return (hidden @ model.lm_head.weight[tokens].T).cpu()


def _read_once(model: GPT, ids: list[int], rows: int, room: int) -> KVCache:
    """Return a cache in which every row has read the same tokens, with room for more."""
    device = model.token_embedding.weight.device
    cache = KVCache(model.config, 1, len(ids) + room, device=device)
    model.hidden_states(embed_tokens(model.token_embedding, torch.tensor([ids], device=device)), cache=cache)
    cache.keys, cache.values = (x.repeat(1, rows, 1, 1, 1) for x in (cache.keys, cache.values))
    cache.positions = cache.positions.repeat(rows, 1)
    return cache
