"""An n-gram language model: the control for models that read more than the last few tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def ngram_surprise(
    train: Int[Tensor, " learnt"], test: Int[Tensor, " tested"], vocab_size: int, n: int
) -> Float[Tensor, " tested"]:
    """Compute the surprise (surprisal) -log p, in nats, of each token of `test` under an n-gram model of `train`.

    The estimate is Witten-Bell's, interpolated with that of n - 1; it has no hyperparameter. After a context that was
    seen c times, with d different next tokens, p = (times seen + d * p of n - 1) / (c + d). Below n = 1 all tokens are
    equally likely.

    Args:
        train: The tokens to count.
        test: The tokens to predict, each from the tokens before it.
        vocab_size: The number of different tokens.
        n: The length of the n-grams: 1 knows only how often each token occurs; 3 reads the two tokens before, as far as
            there are any.

    Raises:
        ValueError: If n-grams cannot be numbered in 64 bits, or a token is not in the vocabulary.

    Source: Witten and Bell 1991, method C; Chen and Goodman 1999, section 2.5.
    """
    if vocab_size**n >= 2**63:
        raise ValueError(f"runs of {n} tokens cannot be numbered for a vocabulary of {vocab_size}; ask for a smaller n")
    for tokens in (train, test):
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < vocab_size:
            raise ValueError(
                f"tokens from {tokens.min()} to {tokens.max()} are not those of a vocabulary of {vocab_size}"
            )
    p = torch.full((len(test),), 1 / vocab_size, dtype=torch.float64)
    for length in range(1, min(n, len(train), len(test)) + 1):
        place_value = vocab_size ** torch.arange(length - 1, -1, -1)
        seen, times = (train.unfold(0, length, 1) @ place_value).unique(return_counts=True)
        contexts, context_of, followers = (seen // vocab_size).unique(return_inverse=True, return_counts=True)
        visits = torch.zeros_like(followers).index_add(0, context_of, times)

        asked = test.unfold(0, length, 1) @ place_value
        count = _look_up(asked, seen, times)
        context, different = (_look_up(asked // vocab_size, contexts, column) for column in (visits, followers))
        known = context > 0
        shorter = p[length - 1 :].clone()
        p[length - 1 :] = torch.where(
            known, (count + different * shorter) / (context + different).clamp(min=1), shorter
        )
    return -p.log()


def _look_up(
    asked: Int[Tensor, " asked"], keys: Int[Tensor, " keys"], values: Int[Tensor, " keys"]
) -> Int[Tensor, " asked"]:
    """Look up the value of each key in `asked`, 0 if it is not among `keys`, which are in ascending order."""
    place = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == asked, values[place], 0)
