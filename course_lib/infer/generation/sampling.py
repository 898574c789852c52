"""From logits to the next token: temperature, top-k, top-p, min-p."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.errors import GenerationError
from course_lib.nn.storage import at_least_float32


@dataclass(frozen=True)
class Sampling:
    """How the next token is sampled.

    The steps are taken in the order of the attributes, each on what the one before left over. None leaves a step out.

    Attributes:
        temperature: Divides the logits; 0 takes the most likely token, the first of several equal ones, and skips the
            other steps.
        top_k: Keep the k most likely tokens, and those exactly as likely as the last of them (Fan et al. 2018).
        top_p: Keep the smallest set of most likely tokens whose probabilities add up to at least p (Holtzman et al.
            2020, section 3.1).
        min_p: Keep the tokens whose probability is at least this fraction of the largest one (Nguyen et al. 2024).

    Raises:
        GenerationError: If a value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise GenerationError(f"temperature={self.temperature} must be a number from 0 on; 0 takes the likeliest")
        if self.top_k is not None and not (1 <= self.top_k < math.inf and self.top_k == int(self.top_k)):
            raise GenerationError(f"top_k={self.top_k} must be a whole number from 1 on, or None to keep all tokens")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise GenerationError(f"top_p={self.top_p} must be more than 0 and at most 1")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise GenerationError(f"min_p={self.min_p} must lie between 0 and 1")


GREEDY = Sampling(temperature=0)


def probabilities(logits: Float[Tensor, "*batch vocab"], sampling: Sampling) -> Float[Tensor, "*batch vocab"]:
    """Compute the distribution that the next token is drawn from, in float32 at least; -inf has probability 0."""
    logits = logits.to(at_least_float32(logits.dtype))
    if sampling.temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(dim=-1, keepdim=True), 1.0)
    logits = logits - logits.amax(dim=-1, keepdim=True)  # so that nothing overflows
    logits = logits / max(sampling.temperature, torch.finfo(logits.dtype).tiny)  # a smaller one would become 0
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(int(sampling.top_k), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        ascending, order = logits.sort(dim=-1)
        dropped = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - sampling.top_p
        dropped[..., -1] = False  # the most likely token stays, however the sums are rounded
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -math.inf)
    probs = logits.softmax(dim=-1)
    if sampling.min_p:
        probs = probs.where(probs >= sampling.min_p * probs.amax(dim=-1, keepdim=True), 0.0)
        probs = probs / probs.sum(dim=-1, keepdim=True)
    return probs


def sample(
    logits: Float[Tensor, "*batch vocab"], sampling: Sampling, generator: torch.Generator | None = None
) -> Int[Tensor, "*batch"]:
    """Sample a token from each distribution; the same generator state gives the same tokens."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probs = probabilities(logits, sampling)
    rows = probs.reshape(-1, probs.shape[-1])
    return torch.multinomial(rows, 1, generator=generator).view(probs.shape[:-1])
