"""Speculative decoding: a small model drafts tokens, and the large one checks all of them in one forward pass."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.errors import GenerationError
from course_lib.infer.generation.cached_decoder import CachedDecoder
from course_lib.infer.generation.generate import token_budgets
from course_lib.infer.generation.sampling import Sampling, probabilities
from course_lib.models.gpt import GPT
from course_lib.nn.embed import embed_tokens


class Round(NamedTuple):
    """What one call of the target brought: new tokens; how many tokens were drafted for it, and how many it accepted.

    The sum of `accepted` over that of `drafted` is the accepted share of a text.
    """

    tokens: list[int]
    drafted: int
    accepted: int


class Sampler:
    """All chance that there is in speculative decoding."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def sample(self, weights: Float[Tensor, " vocab"]) -> int:
        """A token, with probabilities proportional to the weights."""
        return int(torch.multinomial(weights, 1, generator=self.generator))

    def bernoulli(self, probability: float) -> bool:
        """True with this probability."""
        device = self.generator.device if self.generator else None
        return bool(torch.rand((), generator=self.generator, device=device, dtype=torch.float64) < probability)


def speculate(
    target: GPT,
    draft: GPT,
    prompt: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008  # frozen
    *,
    draft_tokens: int = 4,
    stop: Collection[int] = (),
    generator: torch.Generator | None = None,
) -> Iterator[Round]:
    """Continue a prompt by rounds: the draft model proposes tokens, and the target checks all of them at once.

    The text has the distribution that `generate` gives it with the target alone; with a temperature of 0 it is the same
    text. Both models sample in the same way. It ends like a row of `generate`, a token of `stop` included.

    Args:
        target: the model whose text is wanted.
        draft: a smaller model with the same vocabulary.
        prompt: token ids.
        max_new_tokens: at most so many tokens.
        sampling: how both choose the next token.
        draft_tokens: how many tokens the draft proposes in a round, at most.
        stop: tokens that end the text.
        generator: of random numbers, on the models' device.

    Yields:
        What each round brought.

    Raises:
        GenerationError: before the first round, as `generate`, and for models of different vocabularies.

    Source: Leviathan et al. 2023, algorithm 1.
    """
    if target.config.vocab_size != draft.config.vocab_size:
        raise GenerationError(
            f"the draft has {draft.config.vocab_size} tokens and the target {target.config.vocab_size}; "
            "both need one vocabulary"
        )
    if draft_tokens < 1:
        raise GenerationError(f"draft_tokens={draft_tokens} drafts nothing; it must be at least 1")
    (room,) = token_budgets(target, [prompt], max_new_tokens)
    return _rounds(target, draft, list(prompt), room, sampling, draft_tokens, frozenset(stop), Sampler(generator))


def rejection_sample(
    drafted: Sequence[int],
    draft_probs: Sequence[Float[Tensor, " vocab"]],
    target_probs: Float[Tensor, "_ vocab"],
    sampler: Sampler,
) -> list[int]:
    """Keep a beginning of the draft and add one token, so that all are distributed as the target's own.

    A drafted token x stays with probability min(1, target(x) / draft(x)). The first that does not is replaced by one
    drawn from max(0, target - draft), which the draft proposed too rarely, and ends the text.

    Args:
        drafted: the tokens that the draft model proposed.
        draft_probs: the draft model's distribution, for each of them.
        target_probs: the target's, for each of them and for the token after them.
        sampler: draws tokens, and decides what stays.

    Source: Leviathan et al. 2023, section 2.3 and appendix A.1.
    """
    for i, token in enumerate(drafted):
        if not sampler.bernoulli(float(target_probs[i, token] / draft_probs[i][token])):
            missing = (target_probs[i] - draft_probs[i]).clamp(min=0)
            if not missing.any():  # they are equal, but for rounding
                missing = target_probs[i]
            return [*drafted[:i], sampler.sample(missing)]
    return [*drafted, sampler.sample(target_probs[len(drafted)])]


@torch.inference_mode()
def _rounds(
    target: GPT,
    draft: GPT,
    text: list[int],
    budget: int,
    sampling: Sampling,
    draft_tokens: int,
    stop: frozenset[int],
    sampler: Sampler,
) -> Iterator[Round]:
    end = len(text) + budget
    # What the draft can read. Its learned positions may be fewer; after them the target goes on alone.
    draft_end = min(end, draft.config.context) if draft.config.position == "learned" else end
    positions = torch.arange(end, device=next(target.parameters()).device)[None]
    target_decoder, draft_decoder = CachedDecoder(target, positions), CachedDecoder(draft, positions[:, :draft_end])
    while len(text) < end:
        drafted: list[int] = []
        draft_probs: list[Tensor] = []
        for _ in range(min(draft_tokens, end - len(text) - 1, draft_end - len(text) + 1)):
            draft_probs.append(_next_probabilities(draft_decoder, text + drafted, 1, sampling)[0])
            drafted.append(sampler.sample(draft_probs[-1]))
        target_probs = _next_probabilities(target_decoder, text + drafted, len(drafted) + 1, sampling)
        tokens = rejection_sample(drafted, draft_probs, target_probs, sampler)
        accepted = len(tokens) - 1
        ends = next((i + 1 for i, token in enumerate(tokens) if token in stop), None)
        text += tokens
        for cache in (draft_decoder.cache, target_decoder.cache):
            cache.rewind(min(cache.length, len(text) - 1))  # without what was drafted in vain
        yield Round(tokens[:ends], len(drafted), accepted)
        if ends:
            return


def _next_probabilities(
    decoder: CachedDecoder, text: list[int], last: int, sampling: Sampling
) -> Float[Tensor, "{last} vocab"]:
    """The distribution of what follows each of the `last` tokens, all that was not read before being read now."""
    ids = torch.tensor([text[decoder.cache.length :]], device=decoder.positions.device)
    return probabilities(decoder.next_logits(embed_tokens(decoder.decoder.tokens, ids), last)[0], sampling)
